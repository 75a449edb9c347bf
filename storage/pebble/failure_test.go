package pebble_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"tidings/chat"
	"tidings/storage"
	"tidings/storage/pebble"
	"tidings/storage/pebble/baddisk"
)

var direct = chat.DirectChat(1, 2)

func entryOf(id chat.ID, after uint64, body string) storage.Entry {
	return storage.Entry{
		Message: chat.Message{Chat: id, From: 1, Time: 5, Type: chat.TypeText, CID: fmt.Append(nil, after), Body: []byte(body)},
		After:   after,
	}
}

// appendOne appends one entry behind after.
func appendOne(s storage.Store, id chat.ID, after uint64, body string) error {
	b := &storage.Batch{Entries: []storage.Entry{entryOf(id, after, body)}}
	if err := s.Append(context.Background(), b); err != nil {
		return err
	}
	if r := b.Entries[0].Result; r.Outcome != storage.Stored {
		return fmt.Errorf("result %+v", r)
	}
	return nil
}

func headOf(t *testing.T, s storage.Store, id chat.ID) uint64 {
	t.Helper()
	infos, err := s.Chats(t.Context(), []chat.ID{id})
	if err != nil {
		t.Fatal(err)
	}
	return infos[0].Head
}

// TestDiskFails breaks vital writes in several ways, on the store's first files and
// on logs that are used again. The store turns read-only, reports nothing as stored
// that is not, answers every call, and what was reported is there after a power loss.
func TestDiskFails(t *testing.T) {
	for _, c := range []struct {
		name  string
		fails func(op errorfs.Op) bool
	}{
		{"sync of the log", baddisk.IsLogSync},
		{"write of the log", func(op errorfs.Op) bool { return baddisk.IsLog(op) && op.Kind == errorfs.OpFileWrite }},
		{"new log", func(op errorfs.Op) bool {
			return baddisk.IsLog(op) && (op.Kind == errorfs.OpCreate || op.Kind == errorfs.OpReuseForWrite)
		}},
		{"manifest", func(op errorfs.Op) bool {
			return strings.Contains(op.Path, "MANIFEST") && op.Kind == errorfs.OpFileSync
		}},
	} {
		for _, used := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/used %v", c.name, used), func(t *testing.T) {
				mem := vfs.NewCrashableMem()
				disk := baddisk.New(mem)
				s, err := pebble.Open("data", pebble.Options{FS: disk, MemTable: 256 << 10})
				if err != nil {
					t.Fatal(err)
				}
				if used {
					useLogsAgain(t, s, disk)
				}
				reported := testBrokenDisk(t, s, func() { disk.Fail(c.fails, syscall.EIO) })
				crashed := mem.CrashClone(vfs.CrashCloneCfg{})
				if err := s.Close(); !errors.Is(err, storage.ErrReadOnly) {
					t.Errorf("Close: %v", err)
				}
				s = open(t, "data", pebble.Options{FS: crashed})
				for id, n := range reported {
					if h := headOf(t, s, id); h < n {
						t.Errorf("head of %v after a power loss: %d, reported was %d", id, h, n)
					}
				}
				if err := appendOne(s, direct, headOf(t, s, direct), "goes on"); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// useLogsAgain writes until the store has begun to write over old logs.
func useLogsAgain(t *testing.T, s storage.Store, disk *baddisk.Disk) {
	t.Helper()
	var again atomic.Int64
	disk.Watch(func(op errorfs.Op) {
		if op.Kind == errorfs.OpReuseForWrite {
			again.Add(1)
		}
	})
	for n := uint64(0); again.Load() < 2; n++ {
		if n > 1000 {
			t.Fatal("no log is used again")
		}
		if err := appendOne(s, chat.DirectChat(3, 4), n, strings.Repeat("z", 50<<10)); err != nil {
			t.Fatal(err)
		}
	}
}

// testBrokenDisk breaks the disk under appending and expects the store to notice.
// It returns how many entries of each chat were reported as stored.
func testBrokenDisk(t *testing.T, s *pebble.Store, breakDisk func()) map[chat.ID]uint64 {
	reported := map[chat.ID]uint64{direct: 10}
	var mu sync.Mutex
	for n := range uint64(10) {
		if err := appendOne(s, direct, n, "x"); err != nil {
			t.Fatal(err)
		}
	}
	breakDisk()
	// Several writers at once: none may hang.
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			id := chat.DirectChat(9, chat.UserID(w+20))
			for n := uint64(0); ; n++ {
				err := appendOne(s, id, n, strings.Repeat("y", 10<<10))
				if err == nil {
					continue
				}
				if !errors.Is(err, storage.ErrUnavailable) && !errors.Is(err, storage.ErrReadOnly) {
					t.Errorf("append on a broken disk: %v", err)
				}
				if got := headOf(t, s, id); got != n {
					t.Errorf("head is %d, %d was the last reported", got, n)
				}
				mu.Lock()
				reported[id] = n
				mu.Unlock()
				return
			}
		})
	}
	wg.Wait()
	err := appendOne(s, direct, 10, "x")
	if !errors.Is(err, storage.ErrReadOnly) || !errors.Is(err, syscall.EIO) {
		t.Errorf("append afterwards: %v", err)
	}
	if _, err := s.AddUsers(t.Context(), []chat.User{{Name: "alice"}}); !errors.Is(err, storage.ErrReadOnly) {
		t.Errorf("AddUsers afterwards: %v", err)
	}
	if err := s.Trim(t.Context(), storage.Trim{Chat: direct, Floor: 4}); !errors.Is(err, storage.ErrReadOnly) {
		t.Errorf("Trim afterwards: %v", err)
	}
	if err := s.Health(); !errors.Is(err, storage.ErrReadOnly) {
		t.Errorf("Health: %v", err)
	}
	ms, err := s.Read(t.Context(), storage.Range{Chat: direct})
	if err != nil || len(ms) != 10 {
		t.Errorf("read afterwards: %d entries, %v", len(ms), err)
	}
	return reported
}

// TestDiskFull: near the end of the space data is refused, then cursors, then
// nothing but Trim goes; all by itself goes on when space returns.
func TestDiskFull(t *testing.T) {
	mem := vfs.NewMem()
	free := func(mib uint64) {
		mem.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: mib << 20, TotalBytes: 100 << 30, UsedBytes: 50 << 30})
	}
	free(1000)
	s := open(t, "data", pebble.Options{FS: mem})
	if err := appendOne(s, direct, 0, "x"); err != nil {
		t.Fatal(err)
	}
	advance := func() error {
		return s.Advance(t.Context(), []storage.Advance{{Chat: direct, User: 1, Read: 1}})
	}
	trim := func() error { return s.Trim(t.Context(), storage.Trim{Chat: direct, Floor: 1}) }
	body := strings.Repeat("x", 5<<20) // more than what is written between two looks
	for _, c := range []struct {
		free           uint64
		append, cursor bool
	}{{63, false, true}, {15, false, false}, {17, false, true}, {65, true, true}, {0, false, false}, {900, true, true}} {
		free(c.free)
		check := func(what string, err error, ok bool) {
			t.Helper()
			if ok && err != nil || !ok && !errors.Is(err, storage.ErrFull) {
				t.Errorf("%s with %d MiB free: %v", what, c.free, err)
			}
		}
		check("append", appendOne(s, direct, headOf(t, s, direct), body), c.append)
		check("health", s.Health(), c.append)
		check("advance", advance(), c.cursor)
		check("trim", trim(), true)
	}
	if h := headOf(t, s, direct); h != 3 {
		t.Errorf("head %d, want 3", h)
	}
}

// TestDiskFullRetained: retained messages are data, so they are refused with all
// that comes with them; removing them goes on as long as cursors do.
func TestDiskFullRetained(t *testing.T) {
	mem := vfs.NewMem()
	free := func(mib uint64) {
		mem.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: mib << 20, TotalBytes: 100 << 30, UsedBytes: 50 << 30})
	}
	free(1000)
	s := open(t, "data", pebble.Options{FS: mem})
	set := storage.Retained{Topic: "new", Body: make([]byte, 5<<20)} // more than what is written between two looks
	remove := storage.Retained{Topic: "old"}
	cursor := []storage.Advance{{Chat: direct, User: 1, Device: 1, Cursor: 1}}
	if err := s.Append(t.Context(), &storage.Batch{Retained: []storage.Retained{{Topic: "old", Body: []byte("y")}}}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		free uint64
		b    storage.Batch
		ok   bool
		want string // what is retained afterwards
	}{
		{"set", 63, storage.Batch{Retained: []storage.Retained{remove, set}, Advances: cursor}, false, "old"},
		{"remove with an entry", 63, storage.Batch{
			Entries: []storage.Entry{entryOf(direct, 0, "x")}, Retained: []storage.Retained{remove},
		}, false, "old"},
		{"a step of a packet log", 63, storage.Batch{
			Entries: []storage.Entry{entryOf(chat.PacketsChat(1), 0, "x")},
		}, true, "old"},
		{"a step near the end", 15, storage.Batch{
			Entries: []storage.Entry{entryOf(chat.PacketsChat(1), 1, "y")},
		}, false, "old"},
		{"remove near the end", 15, storage.Batch{Retained: []storage.Retained{remove}}, false, "old"},
		{"remove", 63, storage.Batch{Retained: []storage.Retained{remove}, Advances: cursor}, true, ""},
		{"set with space again", 1000, storage.Batch{Retained: []storage.Retained{set}}, true, "new"},
	} {
		free(c.free)
		if err := s.Append(t.Context(), &c.b); (err == nil) != c.ok || err != nil && !errors.Is(err, storage.ErrFull) {
			t.Errorf("%s: %v", c.name, err)
		}
		rs, err := s.ListRetained(t.Context(), "", 10)
		got := ""
		for _, r := range rs {
			got += r.Topic
		}
		if got != c.want || err != nil {
			t.Errorf("%s: %q is retained, want %q, %v", c.name, got, c.want, err)
		}
	}
	if h := headOf(t, s, direct); h != 0 {
		t.Errorf("head %d: an entry of a refused batch is there", h)
	}
}

// TestFullWhileFlushing: tables do not take the last of the space, and are
// written when it returns.
func TestFullWhileFlushing(t *testing.T) {
	mem := vfs.NewMem()
	const total = 100 << 30
	mem.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 100 << 20, TotalBytes: total})
	s := open(t, "data", pebble.Options{FS: mem, MemTable: 256 << 10})
	body := strings.Repeat("x", 50<<10)
	for n := range uint64(20) {
		if err := appendOne(s, direct, n, body); err != nil {
			t.Fatal(err)
		}
	}
	mem.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 20 << 20, TotalBytes: total})
	done := make(chan error, 1)
	go func() { done <- s.Compact(t.Context()) }()
	for s.Health() == nil { // until the store has noticed
		_ = appendOne(s, direct, 20, strings.Repeat("x", 5<<20))
	}
	mem.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 100 << 20, TotalBytes: total})
	if err := <-done; err != nil {
		t.Errorf("Compact: %v", err)
	}
	if err := appendOne(s, direct, headOf(t, s, direct), body); err != nil {
		t.Errorf("append with space again: %v", err)
	}
}
