package pebble

import (
	"context"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// Metrics are the numbers of the store that operators watch.
type Metrics struct {
	Disk     uint64 // bytes of all files of the database
	WAL      uint64 // bytes in the live write-ahead logs
	MemTable uint64 // bytes of memory in write buffers
	Debt     uint64 // bytes that compactions still have to copy
	Garbage  uint64 // bytes of values that nothing refers to any more
	Free     int64  // bytes free on the file system at the last look
	Reserve  int64  // free bytes below which data is refused

	Commits Latency // of writes that wait until they are durable
}

// Metrics returns the store's numbers of this moment.
func (s *Store) Metrics() Metrics {
	m := s.db.Metrics()
	return Metrics{
		Disk:     s.weigh(),
		WAL:      m.WAL.Size,
		MemTable: m.MemTable.Size,
		Debt:     m.Compact.EstimatedDebt,
		Garbage:  m.BlobFiles.ValueSize - min(m.BlobFiles.ReferencedValueSize, m.BlobFiles.ValueSize),
		Free:     s.space.free.Load(),
		Reserve:  max(s.space.reserve, 0),
		Commits:  s.synced.latency(),
	}
}

// weigh adds up the files of the database: Pebble's own figure leaves some out, and
// is wrong for a while after a restart.
func (s *Store) weigh() (bytes uint64) {
	fsys, dir := s.fence.FS, s.dir
	names, err := fsys.List(dir)
	if err != nil {
		return 0
	}
	for _, name := range names {
		if info, err := fsys.Stat(fsys.PathJoin(dir, name)); err == nil && !info.IsDir() { // else it is gone by now
			bytes += uint64(info.Size())
		}
	}
	return bytes
}

// Checkpoint makes a copy of the store in dir, which must not exist, while
// the store goes on. The copy holds all that was durable at the call and maybe
// more; tables are linked, not copied, where dir is on the same file system. It
// is a data directory that Open accepts. FORMAT is written last, so that an
// interrupted copy is refused.
func (s *Store) Checkpoint(dir string) error {
	if err := s.fence.err(); err != nil {
		return fmt.Errorf("checkpoint: %w", s.Health())
	}
	fsys := s.fence.FS
	if _, err := fsys.Stat(dir); err == nil {
		return fmt.Errorf("checkpoint: %s exists already", dir)
	}
	if err := fsys.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	if err := s.db.Checkpoint(fsys.PathJoin(dir, storeDir), pebble.WithFlushedWAL()); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	if err := writeFormat(fsys, dir); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	return nil
}

// compactMark is a row that Compact rewrites to have something to flush.
var compactMark = []byte{tagCounter, 'C'}

// compactPoll is how often Compact looks whether old files are gone.
const compactPoll = 10 * time.Millisecond

// Compact rewrites the store so that what was trimmed before the call is gone
// from the files: from tables, from files of values, and from old write-ahead
// logs. It reads and writes everything once, beside the normal work. It ends
// early with ctx.
func (s *Store) Compact(ctx context.Context) error {
	s.rewriting.Add(1)
	defer s.rewriting.Add(-1)
	if err := s.rotate(ctx); err != nil {
		return fmt.Errorf("compact: %w", err)
	}
	if err := s.db.Compact(ctx, []byte{0}, []byte{0xff}, false); err != nil {
		return fmt.Errorf("compact: %w", err)
	}
	// Old logs wait to be used again, as many as there may be memtables and one.
	// While rewriting is set, using one means removing it: see fence.
	for range stopWrites + 2 {
		if err := s.rotate(ctx); err != nil {
			return fmt.Errorf("compact: %w", err)
		}
	}
	for s.leftovers() {
		// Pebble looks for files with garbage after a flush.
		if err := s.rotate(ctx); err != nil {
			return fmt.Errorf("compact: %w", err)
		}
		select {
		case <-time.After(compactPoll):
		case <-ctx.Done():
			return fmt.Errorf("compact: %w", ctx.Err())
		}
	}
	return nil
}

// rotate starts a new write-ahead log and flushes what was in the old one.
func (s *Store) rotate(ctx context.Context) error {
	b := s.db.NewBatch()
	if err := b.Set(compactMark, nil, nil); err != nil {
		return err
	}
	if err := s.apply(ctx, b, always, pebble.NoSync); err != nil {
		return err
	}
	return s.db.Flush()
}

// leftovers tells whether files with removed content are still there.
func (s *Store) leftovers() bool {
	m := s.db.Metrics()
	return m.BlobFiles.ValueSize != m.BlobFiles.ReferencedValueSize ||
		m.Table.ObsoleteCount+int64(m.BlobFiles.ObsoleteCount) > 0
}
