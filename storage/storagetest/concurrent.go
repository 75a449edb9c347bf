package storagetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"tidings/chat"
	"tidings/storage"
)

// testReadersBesideAppend: what readers see at any time is a dense beginning of
// the log, no shorter than what was reported stored before they asked.
func testReadersBesideAppend(f *fixture) {
	const batches, size = 40, 10
	var stored atomic.Uint64
	var done atomic.Bool
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for !done.Load() {
				if err := checkReaders(f.s, stored.Load()); err != nil {
					f.Error(err)
					return
				}
			}
		})
	}
	for i := range batches {
		b := &storage.Batch{}
		for j := range size {
			e := entry(team, 1, uint64(i*size), fmt.Sprint(i, "/", j), "text")
			e.Members = []storage.MemberChange{{User: chat.UserID(i*size + j + 1), Role: chat.RoleMember}}
			b.Entries = append(b.Entries, e)
		}
		if err := f.s.Append(ctx, b); err != nil {
			f.Error(err)
			break
		}
		stored.Store(uint64((i + 1) * size))
	}
	done.Store(true)
	wg.Wait()
}

func checkReaders(s storage.Store, stored uint64) error {
	ms, err := s.Read(ctx, storage.Range{Chat: team})
	if err != nil {
		return err
	}
	if uint64(len(ms)) < stored {
		return fmt.Errorf("%d entries are there, %d were stored", len(ms), stored)
	}
	for i := range ms {
		if ms[i].Seq != uint64(i+1) {
			return fmt.Errorf("entry %d has seq %d", i+1, ms[i].Seq)
		}
	}
	members, asOf, err := s.Members(ctx, team)
	if err != nil {
		return err
	}
	// Each entry made one member: rows may be ahead of asOf, never behind it.
	if asOf < stored || uint64(len(members)) < asOf {
		return fmt.Errorf("%d members valid up to %d, %d were stored", len(members), asOf, stored)
	}
	tails, err := s.Inbox(ctx, 1, 0, chat.ID{}, 10)
	if err != nil {
		return err
	}
	if stored > 0 && (len(tails) != 1 || tails[0].Head < stored) {
		return fmt.Errorf("inbox %+v, %d were stored", tails, stored)
	}
	return nil
}

// testParallelAppends: calls for different chats may overlap.
func testParallelAppends(f *fixture) {
	const workers, rounds = 6, 20
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			id := chat.DirectChat(1, chat.UserID(w+2))
			for i := range rounds {
				b := &storage.Batch{Entries: []storage.Entry{
					entry(id, 1, uint64(2*i), fmt.Sprint(i), "a"), entry(id, 1, uint64(2*i), fmt.Sprint(i), "a"),
					entry(id, 1, uint64(2*i), "", "b"),
				}}
				if err := f.s.Append(ctx, b); err != nil {
					f.Error(err)
					return
				}
				if got := b.Entries[2].Result; got.Outcome != storage.Stored || got.Seq != uint64(2*i+2) {
					f.Errorf("worker %d, round %d: %+v", w, i, got)
					return
				}
			}
		})
	}
	wg.Wait()
	f.reopen()
	for _, tail := range f.inbox(1, 0) {
		if tail.Head != 2*rounds {
			f.Errorf("head of %v is %d", tail.Chat, tail.Head)
		}
	}
}

func testCancelled(f *fixture) {
	f.fill(direct, 1, 1)
	ended, cancel := context.WithCancel(ctx)
	cancel()
	_, err1 := f.s.Read(ended, storage.Range{Chat: direct})
	_, err2 := f.s.Inbox(ended, 1, 0, chat.ID{}, 10)
	err3 := f.s.Append(ended, &storage.Batch{Entries: []storage.Entry{entry(direct, 1, 1, "", "x")}})
	for _, err := range []error{err1, err2, err3} {
		if !errors.Is(err, context.Canceled) {
			f.Errorf("error of a call whose context had ended: %v", err)
		}
	}
	if h := f.head(direct); h != 1 {
		f.Errorf("head %d", h)
	}
}

func testHealth(f *fixture) {
	f.fill(direct, 1, 1)
	f.ok(f.s.Health())
}
