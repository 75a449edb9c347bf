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

// TestMarkerComesLast: what a marker names is durable before the marker is made, and
// the new marker before the old one is removed.
func TestMarkerComesLast(t *testing.T) {
	mem := vfs.NewCrashableMem()
	if err := mem.MkdirAll("store", 0o700); err != nil {
		t.Fatal(err)
	}
	root, err := mem.OpenDir("/")
	if err == nil {
		err = errors.Join(root.Sync(), root.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	f := &fence{
		FS: mem, dir: "store", onTrip: func(error) {},
		room: func() bool { return true }, wipe: func() bool { return false },
	}
	durable := func(name string) {
		t.Helper()
		if _, err := mem.CrashClone(vfs.CrashCloneCfg{}).Stat(name); err != nil {
			t.Error(err)
		}
	}
	const manifest, first, second = "store/MANIFEST-000001", "store/marker.manifest.000001.MANIFEST-000001", "store/marker.manifest.000002.MANIFEST-000002"
	for _, name := range []string{manifest, first, second} {
		file, err := f.Create(name, vfs.WriteCategoryUnspecified)
		if err == nil {
			err = file.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		if name == first {
			durable(manifest)
		}
	}
	if err := f.Remove(first); err != nil {
		t.Fatal(err)
	}
	durable(second)
	if err := f.err(); err != nil {
		t.Errorf("the fence has tripped: %v", err)
	}
}
