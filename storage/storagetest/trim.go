package storagetest

import (
	"slices"

	"tidings/chat"
	"tidings/storage"
)

func (f *fixture) trim(t storage.Trim) {
	f.Helper()
	f.ok(f.s.Trim(ctx, t))
}

func testStub(f *fixture) {
	e := entry(direct, 1, 0, "cid", "secret")
	e.Message.Re, e.Message.Mentions, e.Message.Expires = []byte(`{"seq":1}`), []byte(`["bob"]`), 1234
	f.append(e)
	f.fill(direct, 2, 2)
	before := f.read(storage.Range{Chat: direct})
	f.trim(storage.Trim{Chat: direct, Strip: []uint64{1, 3, 17}})
	want := slices.Clone(before)
	for _, i := range []int{0, 2} {
		m := &want[i]
		m.Digest, m.Stub = m.ContentDigest(), true
		m.Body, m.Re, m.Mentions = nil, nil, nil
	}
	f.twice(func() { equal(f, "messages", f.read(storage.Range{Chat: direct}), want) })
	f.trim(storage.Trim{Chat: direct, Strip: []uint64{1, 2}}) // 1 is a stub already
	want[1].Digest, want[1].Stub, want[1].Body = want[1].ContentDigest(), true, nil
	f.twice(func() { equal(f, "messages", f.read(storage.Range{Chat: direct}), want) })
	if got := want[0].ContentDigest(); got != before[0].ContentDigest() {
		f.Errorf("the stub's digest is %x", got)
	}
}

func testForget(f *fixture) {
	f.append(entry(direct, 1, 0, "one", "a"), entry(direct, 1, 0, "two", "b"), entry(direct, 1, 0, "three", "c"))
	f.fill(direct, 2, 2)
	f.fill(chat.DirectChat(1, 3), 1, 2)
	f.trim(storage.Trim{Chat: direct, Forget: 2, Strip: []uint64{2, 3}})
	f.twice(func() {
		equal(f, "seqs", seqs(f.read(storage.Range{Chat: direct})), up(3, 5))
		equal(f, "reverse", seqs(f.read(storage.Range{Chat: direct, Reverse: true, To: 4})), []uint64{4, 3})
		if h := f.head(direct); h != 5 {
			f.Fatalf("head %d", h)
		}
	})
	rs := f.append(entry(direct, 1, 5, "three", "c"), entry(direct, 1, 5, "two", "other"))
	equal(f, "results", outcomes(rs), []string{"duplicate 3", "stored 6"})
	f.trim(storage.Trim{Chat: direct, Forget: 100})
	f.twice(func() { equal(f, "never the last", seqs(f.read(storage.Range{Chat: direct})), []uint64{6}) })
	equal(f, "its cid", outcomes(f.append(entry(direct, 1, 6, "two", "other"))), []string{"duplicate 6"})
	equal(f, "other chat", seqs(f.read(storage.Range{Chat: chat.DirectChat(1, 3)})), up(1, 2))
	f.trim(storage.Trim{Chat: chat.GroupChat(99), Forget: 5, Strip: []uint64{1}}) // empty
}

func testFloor(f *fixture) {
	f.fill(direct, 1, 5)
	for _, floor := range []uint64{3, 2, 0} {
		f.trim(storage.Trim{Chat: direct, Floor: floor})
		f.twice(func() {
			if got := f.info(direct).Floor; got != 3 {
				f.Fatalf("floor %d, want 3", got)
			}
		})
	}
	f.trim(storage.Trim{Chat: direct, Floor: 5})
	if got := f.info(direct).Floor; got != 5 {
		f.Errorf("floor %d, want 5", got)
	}
}

// testSeqNeverReused: a chat that was swept empty goes on where it was.
func testSeqNeverReused(f *fixture) {
	f.fill(direct, 1, 4)
	f.trim(storage.Trim{Chat: direct, Strip: up(1, 4), Forget: 4, Floor: 5})
	f.twice(func() {
		h := f.head(direct)
		equal(f, "entries", seqs(f.read(storage.Range{Chat: direct})), []uint64{h})
		equal(f, "append", outcomes(f.append(entry(direct, 1, 0, "", "x"))), outcomes([]storage.Result{{Outcome: storage.Moved, Seq: h}}))
		if got := f.fill(direct, 1, 1); got != h+1 {
			f.Fatalf("head %d, want %d", got, h+1)
		}
		f.trim(storage.Trim{Chat: direct, Strip: []uint64{h + 1}, Forget: h + 1, Floor: h + 2})
	})
	equal(f, "chats", must[[]storage.ChatInfo](f)(f.s.ListChats(ctx, chat.ID{}, 10))[0].Head, 6)
}

func testDuplicateAfterStrip(f *fixture) {
	want := f.append(entry(direct, 1, 0, "k", "a"))[0]
	f.fill(direct, 1, 1)
	f.trim(storage.Trim{Chat: direct, Strip: up(1, 2), Floor: 3})
	f.twice(func() {
		want.Outcome = storage.Duplicate
		equal(f, "same content", f.append(entry(direct, 1, 2, "k", "a"))[0], want)
		want.Outcome = storage.Mismatch
		equal(f, "other content", f.append(entry(direct, 1, 2, "k", "b"))[0], want)
	})
}

func testExpired(f *fixture) {
	expiring := func(id chat.ID, after uint64, at int64) {
		f.Helper()
		e := entry(id, 1, after, "", "x")
		e.Message.Expires = at
		f.append(e)
	}
	expiring(direct, 0, 300)
	expiring(direct, 1, 100)
	expiring(direct, 2, 0)
	expiring(team, 0, 200)
	expiring(team, 1, 400)
	expiring(team, 2, 100)
	due := func(now int64, limit int, want ...storage.Position) {
		f.Helper()
		equal(f, "due", must[[]storage.Position](f)(f.s.Expired(ctx, now, limit)), want)
	}
	f.twice(func() {
		due(99, 10)
		due(100, 10, storage.Position{Chat: team, Seq: 3}, storage.Position{Chat: direct, Seq: 2})
		due(300, 3, storage.Position{Chat: team, Seq: 3}, storage.Position{Chat: direct, Seq: 2}, storage.Position{Chat: team, Seq: 1})
	})
	f.trim(storage.Trim{Chat: direct, Strip: []uint64{2}})
	f.trim(storage.Trim{Chat: team, Forget: 1})
	f.twice(func() {
		due(1000, 10, storage.Position{Chat: team, Seq: 3}, storage.Position{Chat: direct, Seq: 1}, storage.Position{Chat: team, Seq: 2})
	})
}
