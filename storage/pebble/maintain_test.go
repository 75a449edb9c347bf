package pebble_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"tidings/chat"
	"tidings/storage"
	"tidings/storage/pebble"
)

// holders returns the files below dir that contain text.
func holders(t *testing.T, dir, text string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			return nil // compactions go on beside
		}
		if bytes.Contains(b, []byte(text)) {
			found = append(found, filepath.Base(path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestTrimmedIsGone: what was trimmed is in no file after Compact, whether it
// lay in the log, in a table or in a file of values, and also where compactions
// have left garbage in such a file before.
func TestTrimmedIsGone(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, pebble.Options{MemTable: 256 << 10})
	const secret, kept = "the secret of entry", "what is kept of entry"
	body := func(n uint64) string {
		word := kept
		if n%3 == 0 {
			word = secret
		}
		size := 10 // small values stay in the tables
		if n%2 == 0 {
			size = 400
		}
		return fmt.Sprintf("%q", fmt.Sprintf("%s %d %s", word, n, strings.Repeat("#", size)))
	}
	fill := func(id chat.ID, from, to uint64) {
		t.Helper()
		b := &storage.Batch{}
		for n := from; n <= to; n++ {
			e := entryOf(id, from-1, body(n))
			e.Message.CID = fmt.Append(nil, n)
			b.Entries = append(b.Entries, e)
		}
		if err := s.Append(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	strip := func(id chat.ID, from, to uint64) {
		t.Helper()
		tr := storage.Trim{Chat: id, Floor: from}
		for n := from; n <= to; n++ {
			if n%3 == 0 {
				tr.Strip = append(tr.Strip, n)
			}
		}
		if err := s.Trim(t.Context(), tr); err != nil {
			t.Fatal(err)
		}
	}
	team := chat.GroupChat(3)
	for n := uint64(1); n < 4000; n += 500 {
		fill(direct, n, n+499)
		fill(team, n, n+499)
	}
	strip(team, 1, 2000)
	fill(team, 4001, 4500) // flushes and compactions go on in between
	strip(team, 2001, 4500)
	strip(direct, 1, 4000)
	if err := s.Trim(t.Context(), storage.Trim{Chat: direct, Forget: 1000}); err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{secret + strings.Repeat("#", 400), ""} {
		b := &storage.Batch{Retained: []storage.Retained{{Topic: "home", Body: []byte(body)}}}
		if err := s.Append(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	if len(holders(t, dir, secret)) == 0 {
		t.Fatal("the test looks for something that never was there")
	}
	if err := s.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	if files := holders(t, dir, secret); len(files) > 0 {
		t.Errorf("removed content is still in %v", files)
	}
	if len(holders(t, dir, kept)) == 0 {
		t.Error("nothing is left of what was kept")
	}
	ms, err := s.Read(t.Context(), storage.Range{Chat: team, From: 2999, To: 3001})
	if err != nil || len(ms) != 3 || !ms[1].Stub || string(ms[0].Body) != body(2999) || string(ms[2].Body) != body(3001) {
		t.Errorf("entries around a stub: %+v, %v", ms, err)
	}
	if m := s.Metrics(); m.Garbage != 0 || m.Disk == 0 {
		t.Errorf("metrics %+v", m)
	}
}

// TestGarbageIsGone: values that usual compactions have left behind as garbage
// leave the disk, and so do small ones that lie in used logs.
func TestGarbageIsGone(t *testing.T) {
	for _, c := range []struct {
		name string
		size int
	}{{"small values", 10}, {"values apart", 400}} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, pebble.Options{MemTable: 256 << 10})
			const secret = "the secret of entry"
			fillers := 0
			for n := range uint64(200) {
				word := "what is kept"
				if n == 195 { // in the last of many logs
					word = secret
				}
				b := &storage.Batch{Entries: []storage.Entry{entryOf(direct, n, word+strings.Repeat("#", c.size))}}
				for range 100 {
					e := entryOf(chat.GroupChat(9), uint64(fillers), strings.Repeat("+", c.size))
					e.Message.CID = nil
					b.Entries = append(b.Entries, e)
				}
				fillers += 100
				if err := s.Append(t.Context(), b); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Trim(t.Context(), storage.Trim{Chat: direct, Strip: []uint64{196}}); err != nil {
				t.Fatal(err)
			}
			if err := s.CompactUsual(t.Context()); err != nil {
				t.Fatal(err)
			}
			if len(holders(t, dir, secret)) == 0 {
				t.Fatal("a usual compaction does it, too: the test shows nothing")
			}
			if err := s.Compact(t.Context()); err != nil {
				t.Fatal(err)
			}
			if files := holders(t, dir, secret); len(files) > 0 {
				t.Errorf("removed content is still in %v", files)
			}
		})
	}
}

// TestForgetLeavesNoRows: what duplicates of forgotten entries were found by goes
// with them.
func TestForgetLeavesNoRows(t *testing.T) {
	s := open(t, t.TempDir(), pebble.Options{})
	for n := range uint64(10) {
		if err := appendOne(s, direct, n, "x"); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Trim(t.Context(), storage.Trim{Chat: direct, Forget: 7}); err != nil {
		t.Fatal(err)
	}
	if n, err := s.CIDRows(direct); err != nil || n != 3 {
		t.Errorf("%d rows for 3 entries, %v", n, err)
	}
}

// TestForgetGoesOn: Trim begins where the last one has ended, also after opening
// the store again, and does not look at what lies before. A row in that place
// that cannot be read would be an error.
func TestForgetGoesOn(t *testing.T) {
	fs := vfs.NewMem()
	queue := chat.QueueChat(7)
	forget := func(s *pebble.Store, seq uint64, ok bool) {
		t.Helper()
		err := s.Trim(t.Context(), storage.Trim{Chat: queue, Forget: seq})
		if ok && err != nil || !ok && !errors.Is(err, storage.ErrCorrupt) {
			t.Errorf("forget up to %d: %v", seq, err)
		}
	}
	s, err := pebble.Open("data", pebble.Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	for n := range uint64(10) {
		if err := appendOne(s, queue, n, "x"); err != nil {
			t.Fatal(err)
		}
	}
	forget(s, 3, true)
	for _, seq := range []uint64{1, 3, 8} {
		if err := s.PutBroken(queue, seq); err != nil {
			t.Fatal(err)
		}
	}
	forget(s, 3, true)
	forget(s, 5, true)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, "data", pebble.Options{FS: fs})
	forget(s, 6, true)
	forget(s, 8, false)
}

func TestCheckpoint(t *testing.T) {
	dir := t.TempDir()
	s := open(t, filepath.Join(dir, "data"), pebble.Options{})
	if _, err := s.AddUsers(t.Context(), []chat.User{{Name: "alice"}}); err != nil {
		t.Fatal(err)
	}
	for n := range uint64(50) {
		if err := appendOne(s, direct, n, fmt.Sprintf("%q", fmt.Sprint("text ", n))); err != nil {
			t.Fatal(err)
		}
	}
	want, err := s.Read(t.Context(), storage.Range{Chat: direct})
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(dir, "backup", "today")
	if err := s.Checkpoint(copied); err != nil {
		t.Fatal(err)
	}
	if err := s.Checkpoint(copied); err == nil {
		t.Error("a second checkpoint went over the first")
	}
	// The copy has a life of its own.
	if err := appendOne(s, direct, 50, "only here"); err != nil {
		t.Fatal(err)
	}
	c := open(t, copied, pebble.Options{})
	got, err := c.Read(t.Context(), storage.Range{Chat: direct})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the copy's log (-want +got):\n%s", diff)
	}
	us, err := c.UsersByName(t.Context(), []string{"alice"})
	if err != nil || us[0].ID == 0 {
		t.Errorf("the copy's user: %+v, %v", us, err)
	}
	if err := appendOne(c, direct, 50, "only there"); err != nil {
		t.Error(err)
	}
	if err := os.Remove(filepath.Join(copied, "FORMAT")); err != nil {
		t.Fatal(err)
	}
}

func TestMetrics(t *testing.T) {
	s := open(t, t.TempDir(), pebble.Options{Reserve: 1 << 20})
	if err := appendOne(s, direct, 0, strings.Repeat("x", 100<<10)); err != nil {
		t.Fatal(err)
	}
	if m := s.Metrics(); m.WAL < 100<<10 || m.Disk < m.WAL || m.MemTable == 0 || m.Free <= 0 || m.Reserve != 1<<20 {
		t.Errorf("metrics %+v", m)
	}
}
