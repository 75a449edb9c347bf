package storagetest

import (
	"slices"
	"sync"

	"tidings/chat"
	"tidings/storage"
)

func (f *fixture) inbox(user chat.UserID, device chat.DeviceID) []storage.Tail {
	f.Helper()
	return must[[]storage.Tail](f)(f.s.Inbox(ctx, user, device, chat.ID{}, 1000))
}

func testInboxDirect(f *fixture) {
	notes, events := chat.DirectChat(1, 1), chat.EventsChat(1)
	f.fill(notes, 1, 1)
	f.fill(events, 0, 2)
	f.fill(direct, 2, 3)
	f.fill(chat.DirectChat(2, 3), 2, 4)
	f.ok(f.s.Advance(ctx, []storage.Advance{
		{Chat: direct, User: 1, Device: 7, Cursor: 2, Delivered: 2, Read: 1},
		{Chat: events, User: 1, Device: 8, Cursor: 1},
		{Chat: notes, User: 1, Delivered: 1},
	}))
	time := func(id chat.ID) int64 { return f.info(id).HeadTime }
	f.twice(func() {
		equal(f, "device 7", f.inbox(1, 7), []storage.Tail{
			{Chat: events, Head: 2, HeadTime: time(events)},
			{Chat: notes, Head: 1, HeadTime: time(notes), Delivered: 1},
			{Chat: direct, Head: 3, HeadTime: time(direct), Cursor: 2, Delivered: 2, Read: 1},
		})
		equal(f, "no device", f.inbox(1, 0)[2],
			storage.Tail{Chat: direct, Head: 3, HeadTime: time(direct), Delivered: 2, Read: 1})
		equal(f, "device 8", f.inbox(1, 8)[0], storage.Tail{Chat: events, Head: 2, HeadTime: time(events), Cursor: 1})
		equal(f, "the other user", f.inbox(2, 0), []storage.Tail{
			{Chat: direct, Head: 3, HeadTime: time(direct)},
			{Chat: chat.DirectChat(2, 3), Head: 4, HeadTime: time(chat.DirectChat(2, 3))},
		})
		equal(f, "nobody", f.inbox(99, 1), nil)
	})
}

func testInboxGroup(f *fixture) {
	f.change(storage.MemberChange{User: 10, Role: chat.RoleOwner}, storage.MemberChange{User: 20, Role: chat.RoleMember})
	f.change(storage.MemberChange{User: 20})
	f.fill(team, 10, 3)
	f.twice(func() {
		tail := storage.Tail{Chat: team, Head: 5, HeadTime: f.info(team).HeadTime}
		tail.Member = chat.Member{User: 10, Role: chat.RoleOwner, Intervals: []chat.Interval{{From: 1}}}
		equal(f, "member", f.inbox(10, 1), []storage.Tail{tail})
		tail.Member = chat.Member{User: 20, Intervals: []chat.Interval{{From: 1, To: 2}}}
		equal(f, "who has left", f.inbox(20, 1), []storage.Tail{tail})
	})
}

func testInboxPages(f *fixture) {
	const user = 50
	var want []chat.ID
	for peer := chat.UserID(1); peer <= 100; peer++ {
		id := chat.DirectChat(user, peer)
		f.fill(id, user, 1)
		f.ok(f.s.Advance(ctx, []storage.Advance{{Chat: id, User: user, Device: 9, Cursor: uint64(peer), Read: uint64(peer)}}))
		want = append(want, id)
	}
	slices.SortFunc(want, compareChats)
	f.reopen()
	for _, limit := range []int{1, 7, 100, 500} {
		var got []chat.ID
		for after := (chat.ID{}); ; {
			tails := must[[]storage.Tail](f)(f.s.Inbox(ctx, user, 9, after, limit))
			for _, tail := range tails {
				got, after = append(got, tail.Chat), tail.Chat
				if peer := uint64(tail.Chat.Peer(user)); tail.Cursor != peer || tail.Read != peer || tail.Head != 1 {
					f.Fatalf("tail of peer %d: %+v", peer, tail)
				}
			}
			if len(tails) < limit {
				break
			}
		}
		equal(f, "chats", got, want)
	}
}

// standing is all that Advance moves, of user 1 in direct.
func (f *fixture) standing(devices ...chat.DeviceID) (chat.Watermark, []uint64) {
	f.Helper()
	w := must[[]chat.Watermark](f)(f.s.Watermarks(ctx, direct, []chat.UserID{1}))[0]
	return w, must[[]uint64](f)(f.s.Cursors(ctx, direct, 1, devices))
}

func testAdvance(f *fixture) {
	f.fill(direct, 2, 50)
	for _, a := range []storage.Advance{
		{Device: 7, Cursor: 10, Delivered: 10},
		{Device: 7, Cursor: 5, Delivered: 4, Read: 3},
		{Device: 8, Cursor: 12, Read: 6},
		{Device: 8, Delivered: 11},
		{Cursor: 40}, // no device: no cursor
		{Device: 9},
	} {
		a.Chat, a.User = direct, 1
		f.ok(f.s.Advance(ctx, []storage.Advance{a}))
	}
	// Several of one row in one call.
	f.ok(f.s.Advance(ctx, []storage.Advance{
		{Chat: direct, User: 1, Device: 8, Cursor: 20},
		{Chat: direct, User: 1, Device: 8, Cursor: 13},
		{Chat: direct, User: 2, Read: 33},
	}))
	f.twice(func() {
		w, cursors := f.standing(9, 8, 7, 0)
		equal(f, "watermark", w, chat.Watermark{User: 1, Delivered: 11, Read: 6})
		equal(f, "cursors", cursors, []uint64{0, 20, 10, 0})
		equal(f, "watermarks", must[[]chat.Watermark](f)(f.s.Watermarks(ctx, direct, []chat.UserID{2, 3})),
			[]chat.Watermark{{User: 2, Read: 33}, {User: 3}})
		equal(f, "other chat", must[[]uint64](f)(f.s.Cursors(ctx, team, 1, []chat.DeviceID{7})), []uint64{0})
	})
}

func testAdvanceInBatch(f *fixture) {
	b := &storage.Batch{
		Entries:  []storage.Entry{entry(direct, 1, 0, "", "x")},
		Advances: []storage.Advance{{Chat: direct, User: 1, Device: 7, Cursor: 1, Delivered: 1}},
	}
	f.ok(f.s.Append(ctx, b))
	f.ok(f.s.Append(ctx, &storage.Batch{Advances: []storage.Advance{{Chat: direct, User: 1, Read: 1}}}))
	f.twice(func() {
		w, cursors := f.standing(7)
		equal(f, "watermark", w, chat.Watermark{User: 1, Delivered: 1, Read: 1})
		equal(f, "cursor", cursors, []uint64{1})
	})
}

func testConcurrentAdvance(f *fixture) {
	const workers, rounds = 8, 20
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range rounds {
				n := uint64(1 + (i*7+w*13)%100)
				err := f.s.Advance(ctx, []storage.Advance{{Chat: direct, User: 1, Device: 7, Cursor: n, Delivered: n, Read: n / 2}})
				if err != nil {
					f.Error(err)
					return
				}
				_, cursors := f.standing(7)
				if cursors[0] < n {
					f.Errorf("cursor is %d after it was moved to %d", cursors[0], n)
				}
			}
		})
	}
	wg.Wait()
	var top uint64
	for w := range workers {
		for i := range rounds {
			top = max(top, uint64(1+(i*7+w*13)%100))
		}
	}
	f.twice(func() {
		w, cursors := f.standing(7)
		equal(f, "watermark", w, chat.Watermark{User: 1, Delivered: top, Read: top / 2})
		equal(f, "cursor", cursors, []uint64{top})
	})
}
