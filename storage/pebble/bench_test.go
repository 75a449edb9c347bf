package pebble_test

import (
	"fmt"
	"testing"

	"tidings/chat"
	"tidings/storage"
	"tidings/storage/pebble"
	"tidings/storage/storagetest"
)

// diskOpener is a data set on the real disk.
type diskOpener struct{ dir string }

func (o diskOpener) Open() (storage.Store, error) { return pebble.Open(o.dir, pebble.Options{}) }

func BenchmarkStore(b *testing.B) {
	storagetest.Benchmark(b, func(b *testing.B) storagetest.Opener { return diskOpener{b.TempDir()} })
}

// BenchmarkAddUsers: one operation is 10,000 accounts in one call.
func BenchmarkAddUsers(b *testing.B) {
	s := open(b, b.TempDir(), pebble.Options{})
	n := 0
	for b.Loop() {
		users := make([]chat.User, 10_000)
		for i := range users {
			n++
			users[i].Name = fmt.Sprintf("user%07d", n)
		}
		if _, err := s.AddUsers(b.Context(), users); err != nil {
			b.Fatal(err)
		}
	}
}

// open opens a store that is closed at the end of the test.
func open(tb testing.TB, dir string, o pebble.Options) *pebble.Store {
	tb.Helper()
	s, err := pebble.Open(dir, o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Errorf("Close: %v", err)
		}
	})
	return s
}
