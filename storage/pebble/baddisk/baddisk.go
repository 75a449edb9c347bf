// Package baddisk is a file system for tests of what the store does when its disk
// fails, is slow, or stands still. It stands in front of another one, usually one in
// memory. All methods may be called at any time from any goroutine.
package baddisk

import (
	"strings"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// Disk is the file system. It works like the one behind it until it is told
// otherwise.
type Disk struct {
	vfs.FS

	watch atomic.Pointer[func(errorfs.Op)]
	fail  atomic.Pointer[failure]
	stall atomic.Pointer[chan struct{}]
	delay atomic.Int64 // nanoseconds
	syncs atomic.Int64
}

type failure struct {
	which func(errorfs.Op) bool
	err   error
}

// New returns a disk in front of fs.
func New(fs vfs.FS) *Disk {
	d := &Disk{}
	d.FS = errorfs.Wrap(fs, errorfs.InjectorFunc(d.before))
	return d
}

// Watch calls see in front of each operation, from many goroutines.
func (d *Disk) Watch(see func(errorfs.Op)) { d.watch.Store(&see) }

// Fail lets those operations fail from now on.
func (d *Disk) Fail(which func(errorfs.Op) bool, err error) { d.fail.Store(&failure{which, err}) }

// Slow makes each sync take that much longer.
func (d *Disk) Slow(by time.Duration) { d.delay.Store(int64(by)) }

// Stall makes the disk stand still at its next write, until release is called.
// Reads go on.
func (d *Disk) Stall() (release func()) {
	c := make(chan struct{})
	d.stall.Store(&c)
	return func() {
		d.stall.Store(nil)
		close(c)
	}
}

// LogSyncs is how often write-ahead logs were synced.
func (d *Disk) LogSyncs() int { return int(d.syncs.Load()) }

// ReuseForWrite implements vfs.FS: errorfs lets files through that are used again.
func (d *Disk) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := d.FS.ReuseForWrite(oldname, newname, c)
	if err != nil {
		return nil, err
	}
	return errorfs.WrapFile(file, errorfs.InjectorFunc(func(op errorfs.Op) error {
		op.Path = newname
		return d.before(op)
	})), nil
}

// Unwrap implements vfs.FS.
func (d *Disk) Unwrap() vfs.FS { return d.FS }

// before is called in front of each operation.
func (d *Disk) before(op errorfs.Op) error {
	if see := d.watch.Load(); see != nil {
		(*see)(op)
	}
	if c := d.stall.Load(); c != nil && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
		<-*c
	}
	if IsSync(op) {
		if IsLog(op) {
			d.syncs.Add(1)
		}
		if by := time.Duration(d.delay.Load()); by > 0 {
			<-time.After(by)
		}
	}
	if f := d.fail.Load(); f != nil && f.which(op) {
		return f.err
	}
	return nil
}

// IsSync tells whether the operation makes a file durable.
func IsSync(op errorfs.Op) bool {
	return op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSyncTo
}

// IsLog tells whether the operation is one on a write-ahead log.
func IsLog(op errorfs.Op) bool { return strings.HasSuffix(op.Path, ".log") }

// IsLogSync tells whether the operation makes a write-ahead log durable.
func IsLogSync(op errorfs.Op) bool { return IsLog(op) && IsSync(op) }
