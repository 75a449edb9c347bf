package pebble_test

import (
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"tidings/chat"
	"tidings/storage"
	"tidings/storage/pebble"
)

// TestReadersSeeDurableOnly holds the log's sync back: until it is through
// nobody sees the entries that wait for it.
func TestReadersSeeDurableOnly(t *testing.T) {
	var hold atomic.Pointer[chan struct{}]
	syncing := make(chan struct{}, 1)
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if c := hold.Load(); c != nil && strings.HasSuffix(op.Path, ".log") &&
			(op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData) {
			select {
			case syncing <- struct{}{}:
			default:
			}
			<-*c
		}
		return nil
	}))
	s := open(t, "data", pebble.Options{FS: fs})
	old, fresh := direct, chat.DirectChat(1, 3)
	if err := appendOne(s, old, 0, "x"); err != nil {
		t.Fatal(err)
	}
	release := make(chan struct{})
	hold.Store(&release)
	done := make(chan error, 1)
	go func() {
		b := &storage.Batch{Entries: []storage.Entry{entryOf(old, 1, "y"), entryOf(old, 1, "z"), entryOf(fresh, 0, "a")}}
		b.Entries[1].Message.CID = nil
		done <- s.Append(t.Context(), b)
	}()
	<-syncing
	waitApplied(t, s, fresh, 1) // the last of the batch
	checkSeen(t, s, old, 1)
	checkSeen(t, s, fresh, 0)
	hold.Store(nil)
	close(release)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	checkSeen(t, s, old, 3)
	checkSeen(t, s, fresh, 1)
}

// waitApplied waits until the database shows the entry, though it is not durable.
func waitApplied(t *testing.T, s *pebble.Store, id chat.ID, want uint64) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; runtime.Gosched() {
		got, err := s.Applied(id)
		if err != nil {
			t.Fatal(err)
		}
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the database shows %d, want %d", got, want)
		}
	}
}

// checkSeen asks for the head of a chat in every way there is.
func checkSeen(t *testing.T, s storage.Store, id chat.ID, want uint64) {
	t.Helper()
	if h := headOf(t, s, id); h != want {
		t.Errorf("Chats: head %d, want %d", h, want)
	}
	for _, reverse := range []bool{false, true} {
		ms, err := s.Read(t.Context(), storage.Range{Chat: id, Reverse: reverse})
		if err != nil || uint64(len(ms)) != want {
			t.Errorf("Read, reverse %v: %d entries, want %d; %v", reverse, len(ms), want, err)
		}
	}
	tails, err := s.Inbox(t.Context(), 1, 0, chat.ID{}, 10)
	if err != nil {
		t.Fatal(err)
	}
	infos, err := s.ListChats(t.Context(), chat.ID{}, 10)
	if err != nil {
		t.Fatal(err)
	}
	var inInbox, inList uint64
	for _, tail := range tails {
		if tail.Chat == id {
			inInbox = tail.Head
		}
	}
	for _, info := range infos {
		if info.ID == id {
			inList = info.Head
		}
	}
	if inInbox != want || inList != want {
		t.Errorf("Inbox: head %d, ListChats: head %d, want %d", inInbox, inList, want)
	}
}
