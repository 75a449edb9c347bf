package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"tidings/chat"
	"tidings/storage"
)

// queueEntry is what waits for a device: nobody's, without cid and type.
func queueEntry(id chat.ID, after uint64, text string) storage.Entry {
	return storage.Entry{Message: chat.Message{Chat: id, Time: 5, Body: []byte(text)}, After: after}
}

// enqueue appends n entries to a queue and returns its new head.
func (f *fixture) enqueue(id chat.ID, n int) uint64 {
	f.Helper()
	head := f.head(id)
	es := make([]storage.Entry, n)
	for i := range es {
		es[i] = queueEntry(id, head, fmt.Sprint(head+uint64(i)+1))
	}
	for _, r := range f.append(es...) {
		if r.Outcome != storage.Stored {
			f.Fatalf("entry was not stored: %+v", r)
		}
	}
	return head + uint64(n)
}

func (f *fixture) retain(rs ...storage.Retained) {
	f.Helper()
	f.ok(f.s.Append(ctx, &storage.Batch{Retained: rs}))
}

func (f *fixture) retained() []storage.Retained {
	f.Helper()
	return must[[]storage.Retained](f)(f.s.ListRetained(ctx, "", 1000))
}

func kept(topic, body string) storage.Retained {
	return storage.Retained{Topic: topic, Body: []byte(body)}
}

// testQueue: the log of a device is a chat like others, but in nobody's inbox.
func testQueue(f *fixture) {
	const user, device = 3, 5
	id, other := chat.QueueChat(device), chat.QueueChat(device+1)
	f.fill(chat.DirectChat(user, 4), user, 1)
	f.enqueue(id, 3)
	f.enqueue(other, 2)
	f.ok(f.s.Append(ctx, &storage.Batch{
		Entries:  []storage.Entry{queueEntry(id, 3, "4")},
		Advances: []storage.Advance{{Chat: id, User: user, Device: device, Cursor: 2}},
	}))
	f.ok(f.s.Advance(ctx, []storage.Advance{
		{Chat: id, User: user, Device: device, Cursor: 1},
		{Chat: other, User: user, Device: device + 1, Cursor: 1},
	}))
	f.twice(func() {
		var texts []string
		for _, m := range f.read(storage.Range{Chat: id, From: 2}) {
			texts = append(texts, string(m.Body))
		}
		equal(f, "queue", texts, []string{"2", "3", "4"})
		equal(f, "cursors", must[[]uint64](f)(f.s.Cursors(ctx, id, user, []chat.DeviceID{device, device + 1})), []uint64{2, 0})
		equal(f, "watermarks", must[[]chat.Watermark](f)(f.s.Watermarks(ctx, id, []chat.UserID{user})),
			[]chat.Watermark{{User: user}})
		for _, u := range []chat.UserID{user, 0, chat.UserID(id.Hi), device} {
			for _, tail := range f.inbox(u, device) {
				if tail.Chat.Kind() == chat.KindQueue {
					f.Errorf("%v is in the inbox of user %d", tail.Chat, u)
				}
			}
		}
		members, _, err := f.s.Members(ctx, id)
		f.ok(err)
		equal(f, "members", members, nil)
		equal(f, "Chats", f.info(id), storage.ChatInfo{ID: id, Head: 4, HeadTime: 5})
		equal(f, "ListChats", must[[]storage.ChatInfo](f)(f.s.ListChats(ctx, chat.DirectChat(user, 4), 10)),
			[]storage.ChatInfo{{ID: id, Head: 4, HeadTime: 5}, {ID: other, Head: 2, HeadTime: 5}})
	})
	equal(f, "stale", outcomes(f.append(queueEntry(id, 3, "x"))), []string{"moved 4"})
}

// testForgetAgain forgets a queue little by little, as its device acknowledges.
func testForgetAgain(f *fixture) {
	id := chat.QueueChat(5)
	for round := range uint64(20) {
		head := f.enqueue(id, 7)
		cursor := head - round%9
		f.trim(storage.Trim{Chat: id, Forget: cursor})
		f.trim(storage.Trim{Chat: id, Forget: cursor}) // nothing is left to do
		f.trim(storage.Trim{Chat: id, Forget: cursor / 2})
		if round%8 == 3 {
			f.reopen()
		}
		first := min(cursor+1, head) // the last entry stays
		equal(f, "left", seqs(f.read(storage.Range{Chat: id})), up(first, head))
		equal(f, "left, backwards", seqs(f.read(storage.Range{Chat: id, Reverse: true, Limit: 1})), []uint64{head})
	}
	f.enqueue(id, 1)
	f.trim(storage.Trim{Chat: id, Forget: ^uint64(0)})
	f.twice(func() {
		equal(f, "the last", seqs(f.read(storage.Range{Chat: id})), []uint64{141})
		equal(f, "head", f.head(id), 141)
	})
	if h := f.enqueue(id, 1); h != 142 {
		f.Errorf("head %d", h)
	}
}

func testRetained(f *fixture) {
	equal(f, "none", f.retained(), nil)
	f.retain(kept("b", "1"), kept("a/b", "2"), kept("a", "3"), kept("", ""), kept("ä", "4"), kept("a\U0001F514", "5"))
	all := []storage.Retained{kept("a", "3"), kept("a/b", "2"), kept("a\U0001F514", "5"), kept("b", "1"), kept("ä", "4")}
	f.twice(func() {
		equal(f, "all", f.retained(), all)
		for i := range all {
			got := must[[]storage.Retained](f)(f.s.ListRetained(ctx, all[i].Topic, 2))
			equal(f, "behind "+all[i].Topic, got, all[i+1:min(i+3, len(all))])
		}
		equal(f, "behind none of them", must[[]storage.Retained](f)(f.s.ListRetained(ctx, "a/", 1)), all[1:2])
		equal(f, "limit zero", must[[]storage.Retained](f)(f.s.ListRetained(ctx, "", 0)), nil)
	})
	// The later of two counts; nil and empty remove, also what is not there.
	f.retain(
		kept("a", "old"), kept("a", "new"), storage.Retained{Topic: "a/b"}, kept("b", ""), kept("c", ""),
		kept("d", "short-lived"), kept("d", ""), kept("e", ""), kept("e", "back"),
	)
	f.twice(func() {
		equal(f, "all", f.retained(), []storage.Retained{kept("a", "new"), kept("a\U0001F514", "5"), kept("e", "back"), kept("ä", "4")})
	})
	// What is handed in belongs to the caller again, and so does what comes out.
	r := kept("own", "mine")
	f.retain(r)
	copy(r.Body, "xxxx")
	copy(must[[]storage.Retained](f)(f.s.ListRetained(ctx, "oo", 1))[0].Body, "yyyy")
	equal(f, "the store's own", must[[]storage.Retained](f)(f.s.ListRetained(ctx, "oo", 1))[0], kept("own", "mine"))

	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := f.s.ListRetained(ended, "", 1); !errors.Is(err, context.Canceled) {
		f.Errorf("error of a call whose context had ended: %v", err)
	}
}

// testRetainedLong keeps the longest topics that MQTT allows and long bodies.
func testRetainedLong(f *fixture) {
	long := strings.Repeat("0123456789abcdef", 4096)[:65534]
	big := string(bytes.Repeat([]byte("0123456789"), 105_000))
	want := []storage.Retained{kept(long+"a", "1"), kept(long+"b", big), kept(long+"c", "3")}
	for _, r := range want {
		f.retain(r)
	}
	f.twice(func() {
		equal(f, "all", f.retained(), want)
		equal(f, "behind a long one", must[[]storage.Retained](f)(f.s.ListRetained(ctx, long+"a", 1)), want[1:2])
	})
	f.retain(kept(long+"b", ""))
	f.crash()
	equal(f, "without one", f.retained(), []storage.Retained{want[0], want[2]})
}

// testRetainedWithEntries: retained messages do not ask what becomes of entries.
func testRetainedWithEntries(f *fixture) {
	id := chat.QueueChat(1)
	f.fill(direct, 1, 2)
	f.append(entry(direct, 1, 2, "cid", "x"))
	probe := entry(direct, 1, 0, "cid", "x")
	probe.Probe = true
	batch := func(topic string, want string, es ...storage.Entry) {
		f.Helper()
		b := &storage.Batch{Entries: es, Retained: []storage.Retained{kept(topic, topic)}}
		b.Advances = []storage.Advance{{Chat: id, User: 1, Device: 1, Cursor: 1}}
		f.ok(f.s.Append(ctx, b))
		equal(f, topic, outcomes([]storage.Result{es[0].Result}), []string{want})
	}
	batch("1 stored", "stored 1", queueEntry(id, 0, "a"))
	batch("2 moved", "moved 1", queueEntry(id, 0, "b"))
	batch("3 duplicate", "duplicate 3", entry(direct, 1, 3, "cid", "x"))
	batch("4 mismatch", "mismatch 3", entry(direct, 1, 3, "cid", "y"))
	batch("5 probe", "duplicate 3", probe)
	f.crash()
	var topics []string
	for _, r := range f.retained() {
		equal(f, r.Topic, string(r.Body), r.Topic)
		topics = append(topics, r.Topic)
	}
	equal(f, "topics", topics, []string{"1 stored", "2 moved", "3 duplicate", "4 mismatch", "5 probe"})
	equal(f, "queue", seqs(f.read(storage.Range{Chat: id})), []uint64{1})
}

// testListSessions saves sessions with and without the mark.
func testListSessions(f *fixture) {
	us := f.addUsers("alice", "bob")
	ids := []chat.DeviceID{
		f.addDevice(us[0], "a"), f.addDevice(us[1], "b"), f.addDevice(us[0], "c"), f.addDevice(us[1], "d"),
	}
	slices.Sort(ids)
	list := func(after chat.DeviceID, limit int, want ...string) {
		f.Helper()
		var got []string
		for _, s := range must[[]storage.StoredSession](f)(f.s.ListSessions(ctx, after, limit)) {
			equal(f, "device", s.Device, must[chat.Device](f)(f.s.Device(ctx, s.Device.ID)))
			got = append(got, fmt.Sprintf("%s %s at %q", s.Device.Name, s.State, s.Device.Node))
		}
		equal(f, "listed", got, want)
	}
	save := func(i int, epoch uint32, state []byte, listed, closed bool) {
		f.Helper()
		f.ok(f.s.SaveSession(ctx, storage.SessionState{
			Device: ids[i], Epoch: epoch, State: state, Listed: listed, Closed: closed, NowMS: 50, Durable: true,
		}))
	}
	list(0, 10)
	for _, id := range ids {
		_, _, _, err := f.s.OpenSession(ctx, id, "n1", 5)
		f.ok(err)
	}
	list(0, 10) // an open session is not listed by itself
	save(3, 1, []byte("3"), true, true)
	save(0, 1, []byte("0"), true, false)
	save(1, 1, []byte("1"), false, false)
	save(2, 1, []byte{}, true, false)
	f.twice(func() {
		list(0, 10, `a 0 at "n1"`, `c  at "n1"`, `d 3 at ""`)
		list(ids[0], 1, `c  at "n1"`)
		list(ids[1], 10, `c  at "n1"`, `d 3 at ""`)
		list(ids[3], 10)
		list(0, 0)
	})
	save(0, 1, nil, false, true) // keeps all but the connection
	save(1, 1, nil, true, true)
	save(2, 0, []byte("late"), false, true) // of an older connection
	save(3, 1, []byte("4"), false, true)
	f.twice(func() { list(0, 10, `a 0 at ""`, `c  at "n1"`) })
	save(3, 1, []byte("5"), true, true)
	revoke := func(revoked bool) {
		f.Helper()
		_, err := f.s.UpdateDevice(ctx, ids[0], func(d *chat.Device) error { d.Revoked = revoked; return nil })
		f.ok(err)
	}
	revoke(true)
	f.twice(func() {
		list(0, 1, `c  at "n1"`) // a revoked one does not fill the page
		list(0, 10, `c  at "n1"`, `d 5 at ""`)
	})
	revoke(false)
	list(0, 1, `a 0 at ""`)

	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := f.s.ListSessions(ended, 0, 1); !errors.Is(err, context.Canceled) {
		f.Errorf("error of a call whose context had ended: %v", err)
	}
}

// testCrashOpen: queues, retained messages and listed sessions over power losses.
// What was saved late is there no later than what was appended after it.
func testCrashOpen(f *fixture) {
	id := f.addDevice(f.addUsers("alice")[0], "sensor")
	queue := chat.QueueChat(id)
	_, _, _, err := f.s.OpenSession(ctx, id, "n1", 5)
	f.ok(err)
	for round := range uint64(4) {
		listed, text := round%2 == 0, fmt.Sprint(round)
		f.ok(f.s.SaveSession(ctx, storage.SessionState{Device: id, Epoch: 1, State: []byte(text), Listed: listed}))
		f.ok(f.s.Append(ctx, &storage.Batch{
			Entries:  []storage.Entry{queueEntry(queue, 2*round, "a"), queueEntry(queue, 2*round, "b")},
			Retained: []storage.Retained{kept("topic", text), kept("round/"+text, "x"), kept(fmt.Sprint("round/", round-1), "")},
		}))
		f.trim(storage.Trim{Chat: queue, Forget: 2 * round})
		f.crash()
		equal(f, "retained", f.retained(), []storage.Retained{kept("round/"+text, "x"), kept("topic", text)})
		equal(f, "head", f.head(queue), 2*round+2)
		equal(f, "tail", seqs(f.read(storage.Range{Chat: queue, From: 2*round + 1})), up(2*round+1, 2*round+2))
		// The Trim may be lost, but not in part.
		if first := f.read(storage.Range{Chat: queue})[0].Seq; first%2 == 0 || first > 2*round+1 {
			f.Errorf("round %d: first entry %d", round, first)
		}
		sessions := must[[]storage.StoredSession](f)(f.s.ListSessions(ctx, 0, 10))
		if (len(sessions) == 1) != listed {
			f.Fatalf("round %d: %d sessions listed", round, len(sessions))
		}
		if listed {
			equal(f, "state", string(sessions[0].State), text)
			equal(f, "node", sessions[0].Device.Node, "n1")
		}
	}
}
