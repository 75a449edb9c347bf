package pebble_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tidings/chat"
	"tidings/storage"
	"tidings/storage/pebble"
	"tidings/storage/pebble/baddisk"
)

// TestSlowSync: syncs that take long make calls take long, and that is all. Writers
// that wait together share syncs, and a call waits for no more than a few. Pebble
// holds locks over some syncs, which a bubble's clock cannot pass: the time is real.
func TestSlowSync(t *testing.T) {
	for _, c := range []struct {
		delay time.Duration
		each  int // entries of each writer
	}{{50 * time.Millisecond, 20}, {500 * time.Millisecond, 4}} {
		t.Run(c.delay.String(), func(t *testing.T) {
			t.Parallel()
			const writers = 40
			disk := baddisk.New(vfs.NewMem())
			// A small buffer is flushed again and again: the most syncs that writers can meet.
			s := open(t, "data", pebble.Options{FS: disk, MemTable: 256 << 10})
			disk.Slow(c.delay)
			defer disk.Slow(0) // Close need not be slow
			stop := watchHealth(t, s)
			before := disk.LogSyncs()
			var wg sync.WaitGroup
			for w := range writers {
				wg.Go(func() {
					id := chat.DirectChat(1, chat.UserID(w+2))
					for n := range uint64(c.each) {
						if err := appendOne(s, id, n, strings.Repeat("x", 1<<10)); err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			stop()
			all := uint64(writers * c.each)
			if n := disk.LogSyncs() - before; n > int(all/4) {
				t.Errorf("%d syncs for %d writers with %d entries each", n, writers, c.each)
			}
			l := s.Metrics().Commits
			if l.Count != all || l.Sum < time.Duration(all)*c.delay {
				t.Errorf("measured %+v", l)
			}
			if n := l.Within[c.delay/2]; n != 0 {
				t.Errorf("%d writes took less than half a sync", n)
			}
		})
	}
}

// watchHealth fails the test if the store is not healthy at any moment until stop
// is called.
func watchHealth(t *testing.T, s storage.Store) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	watching.Go(func() {
		for ctx.Err() == nil {
			if err := s.Health(); err != nil {
				t.Errorf("health: %v", err)
				return
			}
			select {
			case <-ctx.Done():
			case <-time.After(10 * time.Millisecond):
			}
		}
	})
	return func() {
		cancel()
		watching.Wait()
	}
}

// lockedText is what a log says, for one who reads while others write.
type lockedText struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lockedText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// TestStall: while the disk stands still, calls wait, Health says so after a
// while without waiting itself, and reads go on; then all goes on as before.
func TestStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log lockedText
		disk := baddisk.New(vfs.NewMem())
		s := open(t, "data", pebble.Options{FS: disk, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if err := appendOne(s, direct, 0, "x"); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second stall is noticed as well
			release := disk.Stall()
			head := headOf(t, s, direct)
			done := make(chan error, 1)
			go func() { done <- appendOne(s, direct, head, "y") }()
			for _, c := range []struct {
				wait    time.Duration
				stalled bool
			}{{0, false}, {4900 * time.Millisecond, false}, {200 * time.Millisecond, true}, {5 * time.Second, true}} {
				<-time.After(c.wait)
				synctest.Wait()
				if err := s.Health(); errors.Is(err, pebble.ErrStalled) != c.stalled {
					t.Errorf("health: %v, want a stall: %v", err, c.stalled)
				}
			}
			if got := headOf(t, s, direct); got != head {
				t.Errorf("head %d is seen before it is durable, want %d", got, head)
			}
			s.Metrics() // does not wait
			select {
			case err := <-done:
				t.Errorf("an append has ended while the disk stands still: %v", err)
			default:
			}
			release()
			if err := <-done; err != nil {
				t.Errorf("append after the stall: %v", err)
			}
			if err := s.Health(); err != nil {
				t.Errorf("health after the stall: %v", err)
			}
			<-time.After(2 * time.Second) // the log is written
		}
		for _, text := range []string{"writes are waiting for the disk", "the disk answers again"} {
			if n := strings.Count(log.String(), text); n != 2 {
				t.Errorf("the log says %d times %q:\n%s", n, text, log.String())
			}
		}
	})
}

// TestStallOfUnsynced: writes that need not be durable wait, too, once the buffers
// are full, and that is a stall like any other. They are bounded by the buffers.
func TestStallOfUnsynced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const buffer = 256 << 10
		disk := baddisk.New(vfs.NewMem())
		s := open(t, "data", pebble.Options{FS: disk, MemTable: buffer})
		ids, err := s.AddDevices(t.Context(), []chat.Device{{User: 1, Name: "phone"}})
		if err != nil {
			t.Fatal(err)
		}
		release := disk.Stall()
		const saves, size = 2000, 4 << 10
		var saved atomic.Int64
		done := make(chan error, 1)
		go func() {
			for n := range saves {
				st := storage.SessionState{Device: ids[0], Epoch: 1, State: fmt.Appendf(make([]byte, 0, size), "%0*d", size, n)}
				if err := s.SaveSession(t.Context(), st); err != nil {
					done <- err
					return
				}
				saved.Add(1)
			}
			done <- nil
		}()
		synctest.Wait()
		<-time.After(6 * time.Second)
		if err := s.Health(); !errors.Is(err, pebble.ErrStalled) {
			t.Errorf("health: %v", err)
		}
		if n := saved.Load(); n*size > 4*buffer {
			t.Errorf("%d writes of %d bytes are taken while the disk stands still", n, size)
		}
		release()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
