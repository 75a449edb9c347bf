package chat_test

import (
	"bytes"
	"math"
	"slices"
	"testing"

	"tidings/chat"
)

// TestID: what an id says of itself, for each kind.
func TestID(t *testing.T) {
	for _, c := range []struct {
		id     chat.ID
		kind   chat.Kind
		text   string
		users  []chat.UserID
		peer   chat.UserID // as user 7 sees it
		group  chat.GroupID
		device chat.DeviceID
	}{
		{id: chat.ID{}, kind: chat.KindNone, text: "none"},
		{id: chat.GroupChat(7), kind: chat.KindGroup, text: "group:7", group: 7},
		{id: chat.EventsChat(7), kind: chat.KindEvents, text: "events:7", users: []chat.UserID{7}},
		{id: chat.DirectChat(7, 7), kind: chat.KindDirect, text: "direct:7:7", users: []chat.UserID{7}, peer: 7},
		{id: chat.DirectChat(9, 7), kind: chat.KindDirect, text: "direct:7:9", users: []chat.UserID{7, 9}, peer: 9},
		{id: chat.DirectChat(8, 9), kind: chat.KindDirect, text: "direct:8:9", users: []chat.UserID{8, 9}},
		{id: chat.QueueChat(7), kind: chat.KindQueue, text: "queue:7", device: 7},
		{id: chat.QueueChat(0), kind: chat.KindQueue, text: "queue:0"},
		{
			id: chat.QueueChat(math.MaxUint64), kind: chat.KindQueue, text: "queue:18446744073709551615",
			device: math.MaxUint64,
		},
	} {
		t.Run(c.text, func(t *testing.T) {
			if got := c.id.Kind(); got != c.kind {
				t.Errorf("kind %d, want %d", got, c.kind)
			}
			if got := c.id.String(); got != c.text {
				t.Errorf("text %q", got)
			}
			if got := c.id.Users(); !slices.Equal(got, c.users) {
				t.Errorf("users %v, want %v", got, c.users)
			}
			if got := c.id.Peer(7); got != c.peer {
				t.Errorf("peer %d, want %d", got, c.peer)
			}
			if got := c.id.Group(); got != c.group {
				t.Errorf("group %d, want %d", got, c.group)
			}
			if got := c.id.Device(); got != c.device {
				t.Errorf("device %d, want %d", got, c.device)
			}
			if got := chat.DecodeID(c.id.Append(nil)); got != c.id {
				t.Errorf("binary form came back as %v", got)
			}
		})
	}
}

// TestIDOrder: ids are ordered as their bytes, and queues are behind all others.
func TestIDOrder(t *testing.T) {
	ids := []chat.ID{
		{},
		chat.GroupChat(1), chat.GroupChat(256), chat.EventsChat(1), chat.DirectChat(1, 1), chat.DirectChat(1, 2),
		chat.EventsChat(math.MaxUint64 - 1), chat.QueueChat(0), chat.QueueChat(1), chat.QueueChat(256),
	}
	for i, a := range ids {
		for j, b := range ids {
			if a.Less(b) != (i < j) || bytes.Compare(a.Append(nil), b.Append(nil)) < 0 != (i < j) {
				t.Errorf("%v before %v: Less says %v", a, b, a.Less(b))
			}
		}
	}
}
