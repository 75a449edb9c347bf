//go:build !race

package pebble_test

import (
	"testing"

	"tidings/chat"
	"tidings/storage"
	"tidings/storage/pebble"
)

// TestAppendAllocates: the usual batch costs allocations by the batch, not by
// the entry. (The race detector allocates on its own.)
func TestAppendAllocates(t *testing.T) {
	s := open(t, t.TempDir(), pebble.Options{})
	const size = 128
	b := &storage.Batch{Entries: make([]storage.Entry, size)}
	var heads [size]uint64
	run := func() {
		for i := range b.Entries {
			id := chat.DirectChat(chat.UserID(i+1), chat.UserID(i+1000))
			e := storage.Entry{After: heads[i]}
			e.Message = chat.Message{Chat: id, From: chat.UserID(i + 1), Type: chat.TypeText, Body: testBody}
			b.Entries[i] = e
		}
		if err := s.Append(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		for i := range heads {
			heads[i]++
		}
	}
	run() // the first entries of chats cost more
	if n := testing.AllocsPerRun(50, run); n > size/4 {
		t.Errorf("%.0f allocations for %d entries", n, size)
	}
}

var testBody = make([]byte, 200)
