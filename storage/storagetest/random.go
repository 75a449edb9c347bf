package storagetest

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"tidings/chat"
	"tidings/storage"
)

// testRandom runs random operations on a store and on Model and compares what
// both answer, also across reopening.
func testRandom(t *testing.T, open func(t *testing.T) Opener) {
	rapid.Check(t, func(rt *rapid.T) {
		r := &runner{T: rt, opener: open(t), model: NewModel()}
		r.open()
		defer func() {
			if err := r.s.Close(); err != nil {
				rt.Errorf("Close: %v", err)
			}
		}()
		rt.Repeat(map[string]func(*rapid.T){
			"append":  r.append,
			"append2": r.append, // twice as often as the others
			"advance": r.advance,
			"trim":    r.trim,
			"reads":   r.reads,
			"inbox":   r.inbox,
			"names":   r.names,
			"session": r.session,
			"listed":  r.listed,
			"retain":  r.retain,
			"reopen": func(*rapid.T) {
				if err := r.s.Close(); err != nil {
					rt.Fatalf("Close: %v", err)
				}
				r.open()
			},
		})
	})
}

type runner struct {
	*rapid.T
	opener Opener
	s      storage.Store
	model  *Model
}

func (r *runner) open() {
	s, err := r.opener.Open()
	if err != nil {
		r.Fatalf("Open: %v", err)
	}
	r.s = s
}

// both runs one operation on the store and on the model and compares.
func both[V any](r *runner, t *rapid.T, what string, op func(s storage.Store) (V, error)) V {
	t.Helper()
	want, errWant := op(r.model)
	got, err := op(r.s)
	if (err == nil) != (errWant == nil) {
		t.Fatalf("%s: error %v, want %v", what, err, errWant)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("%s (-want +got):\n%s", what, diff)
	}
	return want
}

var (
	someChats = rapid.SampledFrom([]chat.ID{
		chat.GroupChat(1), chat.GroupChat(2), chat.EventsChat(1), chat.DirectChat(1, 1), chat.DirectChat(1, 2),
		chat.DirectChat(2, 3), chat.QueueChat(1), chat.QueueChat(2),
	})
	someUsers   = rapid.SampledFrom([]chat.UserID{1, 2, 3})
	someDevices = rapid.SampledFrom([]chat.DeviceID{0, 1, 2, 3})
	someTopics  = rapid.SampledFrom([]string{"a", "a/b", "a\x00", "ab", "b", "\U0001F514"})
	someNames   = rapid.SampledFrom([]string{"a", "b", "bb", "c", "d"})
	someCIDs    = rapid.SampledFrom([]string{"", "", "x", "y", "z", "zz"})
	someTexts   = rapid.SampledFrom([]string{"a", "b", "a rather long text, for it is to be kept apart from its key, " +
		"as values of more than a hundred and twenty-eight bytes are by some stores"})
)

// someRetained sets a topic or removes what it has.
var someRetained = rapid.Custom(func(t *rapid.T) storage.Retained {
	r := storage.Retained{Topic: someTopics.Draw(t, "topic")}
	if rapid.IntRange(0, 2).Draw(t, "set") > 0 {
		r.Body = []byte(someTexts.Draw(t, "body"))
	}
	return r
})

func (r *runner) append(t *rapid.T) {
	n := rapid.IntRange(1, 8).Draw(t, "entries")
	var es []storage.Entry
	after := map[chat.ID]uint64{}
	for range n {
		id := someChats.Draw(t, "chat")
		if _, ok := after[id]; !ok {
			infos, _ := r.model.Chats(ctx, []chat.ID{id})
			after[id] = infos[0].Head
			if rapid.IntRange(0, 9).Draw(t, "stale") == 0 {
				after[id] = uint64(rapid.IntRange(0, 20).Draw(t, "after"))
			}
		}
		e := entry(id, someUsers.Draw(t, "from"), after[id], someCIDs.Draw(t, "cid"), someTexts.Draw(t, "text"))
		e.Message.Expires = rapid.SampledFrom([]int64{0, 0, 100, 200}).Draw(t, "expires")
		e.Message.Time = rapid.Int64Range(0, 1<<40).Draw(t, "time")
		if id.Kind() == chat.KindGroup && rapid.Bool().Draw(t, "members") {
			e.Members = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) storage.MemberChange {
				return storage.MemberChange{
					User:    someUsers.Draw(t, "user"),
					Role:    chat.Role(rapid.IntRange(0, 3).Draw(t, "role")),
					History: rapid.IntRange(0, 3).Draw(t, "history") == 0,
				}
			}), 1, 3).Draw(t, "changes")
		}
		es = append(es, e)
	}
	retained := rapid.SliceOfN(someRetained, 0, 2).Draw(t, "retained")
	both(r, t, "Append", func(s storage.Store) ([]storage.Result, error) {
		b := &storage.Batch{Entries: append([]storage.Entry(nil), es...), Retained: retained}
		err := s.Append(ctx, b)
		var rs []storage.Result
		for i := range b.Entries {
			rs = append(rs, b.Entries[i].Result)
		}
		return rs, err
	})
}

func (r *runner) advance(t *rapid.T) {
	as := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) storage.Advance {
		return storage.Advance{
			Chat: someChats.Draw(t, "chat"), User: someUsers.Draw(t, "user"), Device: someDevices.Draw(t, "device"),
			Cursor: rapid.Uint64Range(0, 9).Draw(t, "cursor"), Delivered: rapid.Uint64Range(0, 9).Draw(t, "delivered"),
			Read: rapid.Uint64Range(0, 9).Draw(t, "read"),
		}
	}), 1, 4).Draw(t, "advances")
	both(r, t, "Advance", func(s storage.Store) (any, error) { return nil, s.Advance(ctx, as) })
}

func (r *runner) trim(t *rapid.T) {
	tr := storage.Trim{
		Chat:   someChats.Draw(t, "chat"),
		Strip:  rapid.SliceOfN(rapid.Uint64Range(1, 30), 0, 5).Draw(t, "strip"),
		Forget: rapid.SampledFrom([]uint64{0, 0, 1, 3, 8, 50}).Draw(t, "forget"),
		Floor:  rapid.Uint64Range(0, 20).Draw(t, "floor"),
	}
	both(r, t, "Trim", func(s storage.Store) (any, error) { return nil, s.Trim(ctx, tr) })
	if rapid.Bool().Draw(t, "retention") {
		policy := rapid.SampledFrom([]string{"", "30d", "forever"}).Draw(t, "policy")
		both(r, t, "SetRetention", func(s storage.Store) (any, error) { return nil, s.SetRetention(ctx, tr.Chat, policy) })
	}
}

func (r *runner) reads(t *rapid.T) {
	rg := storage.Range{
		Chat: someChats.Draw(t, "chat"), From: rapid.Uint64Range(0, 20).Draw(t, "from"),
		To: rapid.Uint64Range(0, 30).Draw(t, "to"), Limit: rapid.IntRange(0, 5).Draw(t, "limit"),
		Bytes: rapid.IntRange(0, 300).Draw(t, "bytes"), Reverse: rapid.Bool().Draw(t, "reverse"),
	}
	both(r, t, fmt.Sprintf("Read %+v", rg), func(s storage.Store) ([]chat.Message, error) { return s.Read(ctx, rg) })
	both(r, t, "Chats", func(s storage.Store) ([]storage.ChatInfo, error) { return s.Chats(ctx, []chat.ID{rg.Chat}) })
	both(r, t, "ListChats", func(s storage.Store) ([]storage.ChatInfo, error) {
		return s.ListChats(ctx, rg.Chat, 2)
	})
	both(r, t, "Members", func(s storage.Store) ([]chat.Member, error) {
		ms, _, err := s.Members(ctx, rg.Chat)
		return ms, err
	})
	now := rapid.Int64Range(0, 300).Draw(t, "now")
	both(r, t, "Expired", func(s storage.Store) ([]storage.Position, error) { return s.Expired(ctx, now, 5) })
}

func (r *runner) inbox(t *rapid.T) {
	user, device := someUsers.Draw(t, "user"), someDevices.Draw(t, "device")
	after, limit := someChats.Draw(t, "after"), rapid.IntRange(1, 4).Draw(t, "limit")
	if rapid.Bool().Draw(t, "from the start") {
		after = chat.ID{}
	}
	both(r, t, "Inbox", func(s storage.Store) ([]storage.Tail, error) { return s.Inbox(ctx, user, device, after, limit) })
	id := someChats.Draw(t, "chat")
	both(r, t, "Watermarks", func(s storage.Store) ([]chat.Watermark, error) {
		return s.Watermarks(ctx, id, []chat.UserID{3, 1, 2})
	})
	both(r, t, "Cursors", func(s storage.Store) ([]uint64, error) {
		return s.Cursors(ctx, id, user, []chat.DeviceID{2, 1, 3})
	})
}

func (r *runner) names(t *rapid.T) {
	name, owner := someNames.Draw(t, "name"), someUsers.Draw(t, "user")
	both(r, t, "AddUsers", func(s storage.Store) ([]chat.UserID, error) {
		return s.AddUsers(ctx, []chat.User{user(name), user("e"), user(name)})
	})
	both(r, t, "AddGroup", func(s storage.Store) (chat.GroupID, error) {
		return s.AddGroup(ctx, chat.Group{Name: name, Created: created})
	})
	both(r, t, "AddDevices", func(s storage.Store) ([]chat.DeviceID, error) {
		return s.AddDevices(ctx, []chat.Device{device(owner, name)})
	})
	both(r, t, "UpdateUser", func(s storage.Store) (chat.User, error) {
		return s.UpdateUser(ctx, owner, func(u *chat.User) error { u.LastSeen++; u.Name = "x"; return nil })
	})
	both(r, t, "SetBlock", func(s storage.Store) ([]chat.UserID, error) {
		if err := s.SetBlock(ctx, 1, owner, name < "c"); err != nil {
			return nil, err
		}
		return s.Blocks(ctx, 1)
	})
	both(r, t, "ListUsers", func(s storage.Store) ([]chat.User, error) { return s.ListUsers(ctx, name, 2) })
	both(r, t, "ListGroups", func(s storage.Store) ([]chat.Group, error) { return s.ListGroups(ctx, name, 2) })
	both(r, t, "DevicesOf", func(s storage.Store) ([]chat.Device, error) { return s.DevicesOf(ctx, owner) })
}

func (r *runner) session(t *rapid.T) {
	id := someDevices.Draw(t, "device")
	type opened struct {
		Device chat.Device
		State  string
		Before string
	}
	both(r, t, "OpenSession", func(s storage.Store) (opened, error) {
		d, state, before, err := s.OpenSession(ctx, id, "n", 5)
		return opened{d, string(state), before}, err
	})
	st := storage.SessionState{
		Device: id, Epoch: rapid.Uint32Range(0, 4).Draw(t, "epoch"), State: []byte(someNames.Draw(t, "state")),
		Closed: rapid.Bool().Draw(t, "closed"), NowMS: 9, Durable: rapid.Bool().Draw(t, "durable"),
		Listed: rapid.Bool().Draw(t, "listed"),
	}
	if rapid.IntRange(0, 3).Draw(t, "keep") == 0 {
		st.State = nil
	}
	both(r, t, "SaveSession", func(s storage.Store) (any, error) { return nil, s.SaveSession(ctx, st) })
}

// listed asks for the listed sessions and revokes devices, or takes that back.
func (r *runner) listed(t *rapid.T) {
	id, revoked := someDevices.Draw(t, "device"), rapid.IntRange(0, 3).Draw(t, "revoked") == 0
	if rapid.Bool().Draw(t, "update") {
		both(r, t, "UpdateDevice", func(s storage.Store) (chat.Device, error) {
			return s.UpdateDevice(ctx, id, func(d *chat.Device) error { d.Revoked = revoked; return nil })
		})
	}
	after, limit := someDevices.Draw(t, "after"), rapid.IntRange(0, 4).Draw(t, "limit")
	both(r, t, "ListSessions", func(s storage.Store) ([]storage.StoredSession, error) {
		return s.ListSessions(ctx, after, limit)
	})
}

// retain sets and removes retained messages without entries, and lists them.
func (r *runner) retain(t *rapid.T) {
	rs := rapid.SliceOfN(someRetained, 0, 3).Draw(t, "retained")
	both(r, t, "Append", func(s storage.Store) (any, error) {
		return nil, s.Append(ctx, &storage.Batch{Retained: rs})
	})
	after := rapid.OneOf(rapid.Just(""), someTopics).Draw(t, "after")
	limit := rapid.IntRange(0, 6).Draw(t, "limit")
	both(r, t, "ListRetained", func(s storage.Store) ([]storage.Retained, error) {
		return s.ListRetained(ctx, after, limit)
	})
}
