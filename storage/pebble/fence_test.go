package pebble

import (
	"errors"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestFenceLeavesRoom: without room no tables are made, so that the rest of the
// space is the log's; files outside the database are none of the fence's business.
func TestFenceLeavesRoom(t *testing.T) {
	mem := vfs.NewMem()
	for _, dir := range []string{"store", "backup"} {
		if err := mem.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	room := false
	closing := make(chan struct{})
	close(closing) // no pause
	f := &fence{
		FS: mem, dir: "store", closing: closing, onTrip: func(error) {},
		room: func() bool { return room }, wipe: func() bool { return false },
	}
	for _, c := range []struct {
		name string
		room bool
		want error
	}{
		{"store/000001.sst", false, syscall.ENOSPC},
		{"store/000002.blob", false, syscall.ENOSPC},
		{"store/000003.log", false, nil},
		{"store/MANIFEST-000004", false, nil},
		{"backup/000001.sst", false, nil},
		{"store/000001.sst", true, nil},
	} {
		room = c.room
		file, err := f.Create(c.name, vfs.WriteCategoryUnspecified)
		if !errors.Is(err, c.want) {
			t.Errorf("create %s, room %v: %v", c.name, c.room, err)
		}
		if err == nil {
			if err := file.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	if err := f.err(); err != nil {
		t.Errorf("the fence has tripped: %v", err)
	}
}
