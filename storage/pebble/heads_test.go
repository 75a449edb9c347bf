package pebble

import (
	"testing"

	"tidings/chat"
)

func TestHeadsAreBounded(t *testing.T) {
	const limit = 8
	h := newHeads(limit)
	for n := range uint64(1000) {
		id := chat.GroupChat(chat.GroupID(n + 1))
		h.hold(id, head{seq: n})
		h.release(id, head{seq: n + 1, time: 7})
		if k := h.known[id]; k == nil || k.head != (head{n + 1, 7}) { // looked at without a mark of use
			t.Fatalf("chat %d: %+v", n, k)
		}
		h.get(chat.GroupChat(1)) // stays, for it is used
		if len(h.known) > limit || len(h.ring) != len(h.known) {
			t.Fatalf("%d known, %d in the ring", len(h.known), len(h.ring))
		}
	}
	if _, ok := h.get(chat.GroupChat(1)); !ok {
		t.Error("the most used chat was dropped")
	}
	if _, ok := h.get(chat.GroupChat(500)); ok {
		t.Error("a chat that was not used for long is still there")
	}
}

// TestHeldHeadsStay: what an Append holds is not dropped, however many there are.
func TestHeldHeadsStay(t *testing.T) {
	h := newHeads(4)
	for n := range uint64(20) {
		h.hold(chat.GroupChat(chat.GroupID(n+1)), head{seq: n})
	}
	for n := range uint64(20) {
		if got, ok := h.get(chat.GroupChat(chat.GroupID(n + 1))); !ok || got.seq != n {
			t.Errorf("held chat %d: %v, %v", n, got, ok)
		}
	}
}
