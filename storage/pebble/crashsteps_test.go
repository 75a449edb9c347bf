package pebble_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"tidings/chat"
	"tidings/storage"
	"tidings/storage/pebble"
)

// What the operations of a crashRound are about: little of each, so that they meet.
var (
	crashChats = []chat.ID{
		chat.GroupChat(1), chat.GroupChat(2), chat.EventsChat(1), chat.DirectChat(1, 2), chat.DirectChat(2, 3), chat.QueueChat(1),
	}
	crashUsers  = []chat.UserID{1, 2, 3}
	crashCIDs   = []string{"a", "b", "c", "d", "e", "f"}
	crashTopics = []string{"a", "a/b", "b", "c/d"}
	crashNames  = []string{"alice", "bob", "carol", "dave", "erin"}
)

func pick[T any](rng *rand.Rand, of []T) T { return of[rng.IntN(len(of))] }

// made is a step's durable where the result is a new id, or nil.
func made(id any) bool { return id != nil }

// always is a step's durable for what never leaves the disk alone.
func always(any) bool { return true }

// draw makes up the next operation.
func (c *crasher) draw() *step {
	rng := c.rng
	switch n := rng.IntN(100); {
	case n < 45:
		return c.drawAppend()
	case n < 53:
		return c.drawAdvance()
	case n < 60:
		return c.drawTrim()
	case n < 75:
		return c.drawSession()
	case n < 98:
		return c.drawAccount()
	default:
		return compactStep
	}
}

// compactStep moves data on disk, which nobody can see.
var compactStep = &step{what: "compact", do: func(s storage.Store) (any, error) {
	if p, ok := s.(*pebble.Store); ok {
		return nil, p.CompactUsual(context.Background())
	}
	return nil, nil
}}

// drawAppend appends to some chats at once, with retained messages and advances.
func (c *crasher) drawAppend() *step {
	rng := c.rng
	var b storage.Batch
	after := map[chat.ID]uint64{}
	for range rng.IntN(6) {
		id := pick(rng, crashChats)
		if _, ok := after[id]; !ok {
			infos, _ := c.model.Chats(context.Background(), []chat.ID{id}) // never fails
			after[id] = infos[0].Head
		}
		b.Entries = append(b.Entries, c.drawEntry(id, after[id]))
	}
	for range rng.IntN(3) {
		r := storage.Retained{Topic: pick(rng, crashTopics)}
		if rng.IntN(3) > 0 {
			r.Body = c.drawBody()
		}
		b.Retained = append(b.Retained, r)
	}
	if rng.IntN(2) == 0 {
		b.Advances = c.advances()
	}
	return &step{
		what: fmt.Sprintf("append %d entries, %d retained messages, %d advances", len(b.Entries), len(b.Retained), len(b.Advances)),
		do: func(s storage.Store) (any, error) {
			b := storage.Batch{Entries: append([]storage.Entry(nil), b.Entries...), Retained: b.Retained, Advances: b.Advances}
			err := s.Append(context.Background(), &b)
			var results []storage.Result
			for i := range b.Entries {
				results = append(results, b.Entries[i].Result)
			}
			return results, err
		},
		durable: func(result any) bool {
			for _, r := range result.([]storage.Result) {
				if r.Outcome == storage.Stored {
					return true
				}
			}
			return len(b.Retained)+len(b.Advances) > 0
		},
	}
}

func (c *crasher) drawEntry(id chat.ID, after uint64) storage.Entry {
	rng := c.rng
	m := chat.Message{Chat: id, From: pick(rng, crashUsers), Time: 1000 + rng.Int64N(1000), Type: chat.TypeText, Body: c.drawBody()}
	m.ID = chat.NewMessageID(rng.Int64N(1 << 40))
	if rng.IntN(3) > 0 {
		m.CID = []byte(pick(rng, crashCIDs))
	}
	if rng.IntN(4) == 0 {
		m.Expires = 1 + rng.Int64N(1000)
	}
	e := storage.Entry{Message: m, After: after}
	if id.Kind() == chat.KindGroup {
		for range rng.IntN(3) {
			e.Members = append(e.Members, storage.MemberChange{
				User: pick(rng, crashUsers), Role: chat.Role(rng.IntN(4)), History: rng.IntN(4) == 0,
			})
		}
	}
	return e
}

// drawBody is mostly short; the long ones fill the buffers.
func (c *crasher) drawBody() []byte {
	size := 1 + c.rng.IntN(40)
	if c.rng.IntN(8) == 0 {
		size = c.rng.IntN(24 << 10)
	}
	return bytes.Repeat([]byte{byte('a' + c.rng.IntN(26))}, size+1)
}

func (c *crasher) advances() (as []storage.Advance) {
	for range 1 + c.rng.IntN(3) {
		as = append(as, storage.Advance{
			Chat: pick(c.rng, crashChats), User: pick(c.rng, crashUsers), Device: chat.DeviceID(1 + c.rng.IntN(3)),
			Cursor: 1 + c.rng.Uint64N(50), Delivered: c.rng.Uint64N(50), Read: c.rng.Uint64N(50),
		})
	}
	return as
}

func (c *crasher) drawAdvance() *step {
	as := c.advances()
	return &step{
		what:    fmt.Sprintf("advance %+v", as),
		do:      func(s storage.Store) (any, error) { return nil, s.Advance(context.Background(), as) },
		durable: always,
	}
}

func (c *crasher) drawTrim() *step {
	tr := storage.Trim{Chat: pick(c.rng, crashChats)}
	infos, _ := c.model.Chats(context.Background(), []chat.ID{tr.Chat}) // never fails
	head := infos[0].Head
	for range c.rng.IntN(4) {
		tr.Strip = append(tr.Strip, 1+c.rng.Uint64N(head+1))
	}
	if c.rng.IntN(2) == 0 {
		tr.Forget = c.rng.Uint64N(head + 2)
	}
	tr.Floor = c.rng.Uint64N(head + 1)
	return &step{
		what: fmt.Sprintf("trim %+v", tr),
		do:   func(s storage.Store) (any, error) { return nil, s.Trim(context.Background(), tr) },
	}
}

// drawSession opens or saves the session of a device, or revokes the device.
func (c *crasher) drawSession() *step {
	ctx := context.Background()
	id := chat.DeviceID(1 + c.rng.IntN(4))
	switch c.rng.IntN(4) {
	case 0:
		type opened struct {
			Device chat.Device
			State  string
			Before string
		}
		return &step{what: fmt.Sprint("open session of ", id), do: func(s storage.Store) (any, error) {
			d, state, before, err := s.OpenSession(ctx, id, "n", 5)
			return opened{d, string(state), before}, err
		}}
	case 1:
		revoked := c.rng.IntN(3) == 0
		return &step{what: fmt.Sprintf("revoke %d: %v", id, revoked), durable: always, do: func(s storage.Store) (any, error) {
			return s.UpdateDevice(ctx, id, func(d *chat.Device) error { d.Revoked = revoked; return nil })
		}}
	}
	d, _ := c.model.Device(ctx, id) // if there is none the operation fails
	st := storage.SessionState{
		Device: id, Epoch: d.Epoch + uint32(c.rng.IntN(2)), State: c.drawBody(),
		NowMS: int64(len(c.history) + 100), Durable: c.rng.IntN(2) == 0, Listed: c.rng.IntN(2) == 0,
	}
	// What is stored has to be seen: as Seen of the device, or on the list.
	st.Closed = !st.Listed || d.Revoked || c.rng.IntN(2) == 0
	return &step{
		what:    fmt.Sprintf("save session of %d, closed %v, listed %v, durable %v", id, st.Closed, st.Listed, st.Durable),
		do:      func(s storage.Store) (any, error) { return nil, s.SaveSession(ctx, st) },
		durable: func(any) bool { return st.Durable },
	}
}

// drawAccount makes or changes a user, a device, a group, a block or a policy.
func (c *crasher) drawAccount() *step {
	ctx := context.Background()
	name, user := pick(c.rng, crashNames), pick(c.rng, crashUsers)
	n := c.rng.Int64N(1000)
	at := time.UnixMilli(n).UTC()
	switch c.rng.IntN(6) {
	case 0:
		return &step{what: "add user " + name, durable: made, do: func(s storage.Store) (any, error) {
			ids, err := s.AddUsers(ctx, []chat.User{{Name: name, Created: at}})
			return idOrNil(ids, err)
		}}
	case 1:
		return c.drawDevice(name)
	case 2:
		return &step{what: "add group " + name, durable: made, do: func(s storage.Store) (any, error) {
			id, err := s.AddGroup(ctx, chat.Group{Name: name, Created: at})
			return idOrNil([]chat.GroupID{id}, err)
		}}
	case 3:
		return &step{what: fmt.Sprint("update user ", user), durable: always, do: func(s storage.Store) (any, error) {
			return s.UpdateUser(ctx, user, func(u *chat.User) error { u.LastSeen = n; return nil })
		}}
	case 4:
		return &step{what: fmt.Sprint("block of ", user), durable: always, do: func(s storage.Store) (any, error) {
			return nil, s.SetBlock(ctx, user, chat.UserID(n%5), n%2 == 0)
		}}
	default:
		id, policy := pick(c.rng, crashChats), fmt.Sprint(n, "d")
		return &step{what: "set retention", durable: always, do: func(s storage.Store) (any, error) {
			return nil, s.SetRetention(ctx, id, policy)
		}}
	}
}

func (c *crasher) drawDevice(name string) *step {
	d := chat.Device{User: pick(c.rng, crashUsers), Name: name, Created: time.UnixMilli(c.rng.Int64N(1000)).UTC(), Token: []byte(name)}
	return &step{what: "add device " + name, durable: made, do: func(s storage.Store) (any, error) {
		ids, err := s.AddDevices(context.Background(), []chat.Device{d})
		return idOrNil(ids, err)
	}}
}

// idOrNil is the only id, nil if it is zero.
func idOrNil[T ~uint64](ids []T, err error) (any, error) {
	if len(ids) == 0 || ids[0] == 0 {
		return nil, err
	}
	return ids[0], err
}
