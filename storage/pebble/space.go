package pebble

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tidings/storage"
)

// space watches the free bytes of the file system. The file system is asked at
// most every spaceAge, or after spaceBytes of new data, or each time while it is
// short; the answer serves everybody until then. A file system that cannot tell
// counts as endless.
type space struct {
	fs      vfs.FS
	dir     string
	reserve int64 // bytes; not above zero: no reserve

	free  atomic.Int64 // at the last look
	at    atomic.Int64 // time of the last look, Unix nanoseconds
	since atomic.Int64 // bytes written since
}

const (
	spaceAge   = 100 * time.Millisecond
	spaceBytes = 4 << 20
)

// newSpace looks once and settles the reserve; zero asks for the default.
func newSpace(fs vfs.FS, dir string, reserve int64) *space {
	s := &space{fs: fs, dir: dir, reserve: reserve}
	if reserve == 0 {
		s.reserve = defaultReserve
		if u, err := fs.GetDiskUsage(dir); err == nil {
			s.reserve = min(s.reserve, int64(u.TotalBytes/smallDisk))
		}
	}
	s.look()
	return s
}

// look asks the file system.
func (s *space) look() {
	free := int64(1) << 62
	if u, err := s.fs.GetDiskUsage(s.dir); err == nil {
		free = int64(min(u.AvailBytes, 1<<62))
	}
	s.since.Store(0)
	s.at.Store(time.Now().UnixNano())
	s.free.Store(free)
}

// admit reports storage.ErrFull if less than the reserve divided by part is
// free. size is what the caller is about to write.
func (s *space) admit(size, part int64) error {
	if s.reserve <= 0 {
		return nil
	}
	if s.since.Add(size) > spaceBytes || s.free.Load() < s.reserve ||
		time.Now().UnixNano()-s.at.Load() > int64(spaceAge) {
		s.look()
		s.since.Add(size)
	}
	return s.judge(part)
}

// judge is admit by the last look, without asking.
func (s *space) judge(part int64) error {
	free := s.free.Load()
	if s.reserve <= 0 || free >= s.reserve/part {
		return nil
	}
	return fmt.Errorf("%w: %d MiB free, %d MiB are kept in reserve", storage.ErrFull, free>>20, s.reserve/part>>20)
}

// room tells whether flushes and compactions may make new tables. They stop at
// half the reserve, which leaves the rest to the write-ahead log.
func (s *space) room() bool {
	if s.judge(2) == nil {
		return true
	}
	s.look()
	return s.judge(2) == nil
}
