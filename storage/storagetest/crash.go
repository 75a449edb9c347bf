package storagetest

import (
	"fmt"
	"sync"
	"sync/atomic"

	"tidings/chat"
	"tidings/storage"
)

// testCrash cuts the power while entries are appended: all that was reported is
// there afterwards, and the log goes on behind it.
func testCrash(f *fixture) {
	c, ok := f.opener.(Crasher)
	if !ok {
		return // the opener cannot lose power
	}
	user := f.addUsers("alice")[0]
	for round := range 5 {
		var reported, marked atomic.Uint64
		started := make(chan struct{})
		old, head := f.s, f.head(direct)
		var wg sync.WaitGroup
		wg.Go(func() {
			for at := head; ; at++ {
				e := entry(direct, 1, at, fmt.Sprint("k", at), "text")
				err := old.Append(ctx, &storage.Batch{Entries: []storage.Entry{e}})
				if err != nil || at >= head+500 {
					return
				}
				reported.Store(at + 1)
				if err := old.Advance(ctx, []storage.Advance{{Chat: direct, User: user, Device: 7, Cursor: at}}); err != nil {
					return
				}
				marked.Store(at)
				if at == head+20 {
					close(started)
				}
			}
		})
		<-started
		least, cursor := reported.Load(), marked.Load()
		f.ok(c.Crash(quiesce{old, wg.Wait}))
		f.open()

		got := f.head(direct)
		if got < least {
			f.Fatalf("round %d: head %d, reported was %d", round, got, least)
		}
		equal(f, "log", seqs(f.read(storage.Range{Chat: direct})), up(1, min(got, 1000)))
		if cs := must[[]uint64](f)(f.s.Cursors(ctx, direct, user, []chat.DeviceID{7})); cs[0] < cursor {
			f.Fatalf("round %d: cursor %d, reported was %d", round, cs[0], cursor)
		}
		again := f.append(entry(direct, 1, got, fmt.Sprint("k", least-1), "text"))[0]
		if again.Outcome != storage.Duplicate || again.Seq != least {
			f.Fatalf("round %d: the last reported entry again: %+v", round, again)
		}
	}
	equal(f, "user", must[[]chat.User](f)(f.s.UsersByName(ctx, []string{"alice"}))[0].ID, user)
}

// quiesce is a store whose users are waited for before it closes.
type quiesce struct {
	storage.Store
	wait func()
}

func (q quiesce) Close() error {
	q.wait()
	return q.Store.Close()
}

// testCrashLate: writes that may become durable late are durable with the next
// append.
func testCrashLate(f *fixture) {
	user := f.addUsers("alice")[0]
	id := f.addDevice(user, "phone")
	f.fill(direct, 1, 3)
	_, _, _, err := f.s.OpenSession(ctx, id, "n1", 10)
	f.ok(err)
	f.ok(f.s.SaveSession(ctx, storage.SessionState{Device: id, Epoch: 1, State: []byte("one")}))
	f.trim(storage.Trim{Chat: direct, Strip: []uint64{1}, Forget: 1, Floor: 2})
	f.fill(direct, 1, 1)
	f.crash()
	d, state, before, err := f.s.OpenSession(ctx, id, "n2", 20)
	f.ok(err)
	if d.Epoch != 2 || string(state) != "one" || before != "n1" {
		f.Errorf("epoch %d, state %q, open before %q", d.Epoch, state, before)
	}
	f.ok(f.s.SaveSession(ctx, storage.SessionState{Device: id, Epoch: 2, State: []byte("two"), Closed: true, NowMS: 30, Durable: true}))
	f.crash()
	d, state, before, err = f.s.OpenSession(ctx, id, "n3", 40)
	f.ok(err)
	if d.Epoch != 3 || string(state) != "two" || before != "" {
		f.Errorf("after a durable save: epoch %d, state %q, open before %q", d.Epoch, state, before)
	}
	equal(f, "log", seqs(f.read(storage.Range{Chat: direct})), up(2, 4))
	if got := f.info(direct).Floor; got != 2 {
		f.Errorf("floor %d", got)
	}
}
