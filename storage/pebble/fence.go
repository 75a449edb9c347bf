package pebble

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// fence stands between Pebble and the file system, because Pebble ends the
// process (Logger.Fatalf, or a panic under its locks) when its log or manifest
// cannot be written, and goes on as if nothing was if Fatalf returns.
//
// On the first error of such a file the fence trips: it keeps the error for the
// store, which then answers every write by itself, and tells Pebble from now on
// that all writes to these files succeed while it drops them, and drops
// removals, too. What is on disk stays as it was at that moment, which is what a
// restart recovers; readers go on with what is in memory and in tables.
//
// The error is kept before Pebble sees the write return. So a caller that asks
// err after its Pebble call returns learns whether that call's sync was real.
type fence struct {
	vfs.FS
	dir string // of the database: files elsewhere (a backup) pass untouched

	cause  atomic.Pointer[error]
	once   sync.Once
	onTrip func(error) // called once, at the trip; must not block

	// wipe tells that old logs are to be removed, not used again.
	wipe func() bool
	// room blocks creation of tables while space is short; see space.
	room func() bool
	// closing ends waits at shutdown.
	closing chan struct{}
}

// err returns why the fence has tripped, nil if it has not.
func (f *fence) err() error {
	if p := f.cause.Load(); p != nil {
		return *p
	}
	return nil
}

func (f *fence) trip(what string, err error) {
	f.once.Do(func() {
		err = fmt.Errorf("%s: %w", what, err)
		f.cause.Store(&err)
		f.onTrip(err)
	})
}

// vital tells whether the store cannot live without writes to the file: the
// write-ahead logs, the manifests, and the markers that name the current one.
func (f *fence) vital(name string) bool {
	base := f.PathBase(name)
	return f.PathDir(name) == f.dir && (strings.HasSuffix(base, ".log") || strings.HasPrefix(base, "MANIFEST") ||
		strings.HasPrefix(base, "marker."))
}

// bulky tells whether the file is the output of a flush or compaction.
func (f *fence) bulky(name string) bool {
	return f.PathDir(name) == f.dir && (strings.HasSuffix(name, ".sst") || strings.HasSuffix(name, ".blob"))
}

// fullPause is how long a flush or compaction waits for space before it fails
// and is tried again.
const fullPause = 200 * time.Millisecond

func (f *fence) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if f.bulky(name) && !f.room() {
		select {
		case <-time.After(fullPause):
		case <-f.closing:
		}
		return nil, syscall.ENOSPC
	}
	if !f.vital(name) {
		return f.FS.Create(name, c)
	}
	return f.open(name, func() (vfs.File, error) {
		if err := f.settle(name); err != nil {
			return nil, err
		}
		return f.FS.Create(name, c)
	})
}

// settle makes the names in the directory durable before a marker is made or removed.
// Pebble syncs the directory only afterwards, so that after a power loss there could
// be a marker without the manifest that it names, or none at all: the order in which
// names reach the disk is the file system's affair.
func (f *fence) settle(name string) error {
	if f.PathDir(name) != f.dir || !strings.HasPrefix(f.PathBase(name), "marker.") {
		return nil
	}
	d, err := f.FS.OpenDir(f.dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// ReuseForWrite recycles a log. After the trip the old one must stay.
func (f *fence) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return f.open(newname, func() (vfs.File, error) {
		if !f.wipe() {
			return f.FS.ReuseForWrite(oldname, newname, c)
		}
		if err := f.FS.Remove(oldname); err != nil {
			return nil, err
		}
		return f.FS.Create(newname, c)
	})
}

func (f *fence) open(name string, open func() (vfs.File, error)) (vfs.File, error) {
	if f.err() != nil {
		return droppedFile{}, nil
	}
	file, err := open()
	if err != nil {
		f.trip("create "+f.PathBase(name), err)
		return droppedFile{}, nil
	}
	return &fencedFile{File: file, fence: f, name: f.PathBase(name)}, nil
}

func (f *fence) OpenDir(name string) (vfs.File, error) {
	d, err := f.FS.OpenDir(name)
	if err != nil || name != f.dir {
		return d, err
	}
	return &fencedFile{File: d, fence: f, name: f.PathBase(name)}, nil
}

func (f *fence) Remove(name string) error {
	if f.err() != nil {
		return nil
	}
	if err := f.settle(name); err != nil {
		f.trip("sync the directory of "+f.PathBase(name), err)
		return nil
	}
	return f.FS.Remove(name)
}

func (f *fence) RemoveAll(name string) error {
	if f.err() != nil {
		return nil
	}
	return f.FS.RemoveAll(name)
}

func (f *fence) Unwrap() vfs.FS { return f.FS }

// fencedFile is a vital file, or a directory whose sync makes one's name durable.
type fencedFile struct {
	vfs.File
	fence *fence
	name  string
}

// do runs a write unless the fence has tripped, and trips it on error.
func (f *fencedFile) do(what string, write func() error) {
	if f.fence.err() != nil {
		return
	}
	if err := write(); err != nil {
		f.fence.trip(what+" "+f.name, err)
	}
}

func (f *fencedFile) Write(p []byte) (int, error) {
	if f.fence.err() == nil {
		if _, err := f.File.Write(p); err != nil {
			f.fence.trip("write "+f.name, err)
		}
	}
	return len(p), nil
}

func (f *fencedFile) WriteAt(p []byte, off int64) (int, error) {
	f.do("write", func() error { _, err := f.File.WriteAt(p, off); return err })
	return len(p), nil
}

func (f *fencedFile) Sync() error {
	f.do("sync", f.File.Sync)
	return nil
}

func (f *fencedFile) SyncData() error {
	f.do("sync", f.File.SyncData)
	return nil
}

func (f *fencedFile) SyncTo(length int64) (full bool, err error) {
	f.do("sync", func() error { full, err = f.File.SyncTo(length); return err })
	return full || f.fence.err() != nil, nil
}

// Stat is asked for logs that are used again; Pebble panics if it fails.
func (f *fencedFile) Stat() (vfs.FileInfo, error) {
	info, err := f.File.Stat()
	if err != nil {
		f.fence.trip("stat "+f.name, err)
		return droppedInfo{}, nil
	}
	return info, nil
}

func (f *fencedFile) Close() error {
	if err := f.File.Close(); err != nil {
		f.fence.trip("close "+f.name, err)
	}
	return nil
}

// droppedFile swallows everything: a vital file that came after the trip.
type droppedFile struct{}

var errDropped = errors.New("store is read-only")

func (droppedFile) Close() error                           { return nil }
func (droppedFile) Read([]byte) (int, error)               { return 0, errDropped }
func (droppedFile) ReadAt([]byte, int64) (int, error)      { return 0, errDropped }
func (droppedFile) Write(p []byte) (int, error)            { return len(p), nil }
func (droppedFile) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
func (droppedFile) Preallocate(int64, int64) error         { return nil }
func (droppedFile) Stat() (vfs.FileInfo, error)            { return droppedInfo{}, nil }
func (droppedFile) Sync() error                            { return nil }
func (droppedFile) SyncTo(int64) (bool, error)             { return true, nil }
func (droppedFile) SyncData() error                        { return nil }
func (droppedFile) Prefetch(int64, int64) error            { return nil }
func (droppedFile) Fd() uintptr                            { return vfs.InvalidFd }

// droppedInfo describes a dropped file: it is empty.
type droppedInfo struct{}

func (droppedInfo) Name() string           { return "" }
func (droppedInfo) Size() int64            { return 0 }
func (droppedInfo) Mode() os.FileMode      { return 0 }
func (droppedInfo) ModTime() time.Time     { return time.Time{} }
func (droppedInfo) IsDir() bool            { return false }
func (droppedInfo) Sys() any               { return nil }
func (droppedInfo) DeviceID() vfs.DeviceID { return vfs.DeviceID{} }
