package pebble

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"tidings/storage"
)

// Store is the embedded store. It implements storage.Store and is safe for
// concurrent use.
type Store struct {
	db    *pebble.DB
	lock  *pebble.Lock
	fence *fence
	space *space
	heads *heads
	log   *slog.Logger
	dir   string

	scratch sync.Pool // *appender

	// Locks for read, change and write of one record; they are held over the
	// write so that changes of a record are made one after the other. Each call
	// takes one of them only.
	accounts sync.Mutex     // making users, devices and groups, and the ids below
	records  [64]sync.Mutex // one record, by id
	trims    [64]sync.Mutex // trimming one chat

	ids struct{ user, device, group uint64 } // last given out; guarded by accounts

	rewriting atomic.Int32 // Compacts under way: values are rewritten, not carried over

	synced, unsynced commits // writes that wait for the disk, and those that do so only behind a full buffer
	stallAfter       time.Duration

	closing chan struct{}
	watch   sync.WaitGroup
}

var _ storage.Store = (*Store)(nil)

// Open opens the store in dir and makes it if the directory is empty or absent.
// Errors: storage.ErrFormat for a directory that is not ours or from a newer
// version, storage.ErrInUse if another process has it open, storage.ErrCorrupt.
func Open(dir string, opts Options) (*Store, error) {
	opts = opts.withDefaults()
	if err := checkFormat(opts.FS, dir); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	path := opts.FS.PathJoin(dir, storeDir)
	if err := opts.FS.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	lock, err := lockDir(path, opts)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	s := &Store{
		lock:    lock,
		space:   newSpace(opts.FS, path, opts.Reserve),
		heads:   newHeads(opts.Heads),
		log:     opts.Logger,
		dir:     path,
		closing: make(chan struct{}),

		stallAfter: opts.StallAfter,
	}
	s.scratch.New = func() any { return newAppender() }
	s.fence = &fence{
		FS: opts.FS, dir: path, closing: s.closing,
		onTrip: s.tripped, room: s.space.room,
		wipe: func() bool { return s.rewriting.Load() > 0 },
	}
	if s.db, err = pebble.Open(path, s.pebbleOptions(opts)); err != nil {
		if pebble.IsCorruptionError(err) {
			err = fmt.Errorf("%w: %w", storage.ErrCorrupt, err)
		}
		return nil, errors.Join(fmt.Errorf("open store: %w", err), lock.Close())
	}
	// What the log gave back after a crash may be in the page cache only. It is
	// reported as stored from now on, so it must be on disk first.
	err = s.db.Flush()
	if failed := s.fence.err(); failed != nil {
		err = errors.Join(err, failed)
	}
	if err := errors.Join(err, s.loadIDs()); err != nil {
		return nil, errors.Join(fmt.Errorf("open store: %w", err), s.db.Close(), lock.Close())
	}
	s.watch.Go(s.watchDisk)
	return s, nil
}

// lockDir takes Pebble's own lock. A file that cannot be opened is a fault of its
// own; what fails behind that is the lock.
func lockDir(path string, opts Options) (*pebble.Lock, error) {
	lock, err := pebble.LockDirectory(path, opts.FS)
	if err == nil {
		return lock, nil
	}
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		return nil, fmt.Errorf("lock data directory: %w", err)
	}
	return nil, fmt.Errorf("%w: another tidings has %s open; stop it first (%w)", storage.ErrInUse, path, err)
}

// tripped is told once, by the fence, that the store is read-only from now on.
func (s *Store) tripped(err error) {
	s.log.Error("storage is read-only until a restart: the disk has refused a vital write", "error", err)
}

// Health implements storage.Store. Its errors are storage.ErrReadOnly, ErrStalled
// and storage.ErrFull, the worst of them first.
func (s *Store) Health() error {
	if err := s.fence.err(); err != nil {
		return fmt.Errorf("%w: %w; check the disk, then restart", storage.ErrReadOnly, err)
	}
	if err := s.stalled(); err != nil {
		return err
	}
	return s.space.judge(1)
}

// Close implements storage.Store.
func (s *Store) Close() error {
	close(s.closing)
	s.watch.Wait()
	err := errors.Join(s.db.Close(), s.lock.Close())
	if failed := s.fence.err(); failed != nil {
		err = errors.Join(err, fmt.Errorf("%w: %w", storage.ErrReadOnly, failed))
	}
	if err != nil {
		return fmt.Errorf("close store: %w", err)
	}
	return nil
}

// watchDisk looks once a second whether the disk answers, for the log, and how
// much space is free, so that Health recovers even when nobody writes. It ends
// with Close.
func (s *Store) watchDisk() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	stalled := false
	for {
		select {
		case <-tick.C:
			stalled = s.noticeStall(stalled)
			s.space.look()
		case <-s.closing:
			return
		}
	}
}

// What a write may need of the reserve.
const (
	adding = 1 // new data: none of it
	moving = 4 // cursors and sessions: three quarters
	always = 0 // what frees space: all
)

// apply commits the batch and closes it. Each write of the store goes through
// here: it refuses when the store takes no writes, and it asks the fence whether
// the success that Pebble reports was real.
func (s *Store) apply(ctx context.Context, b *pebble.Batch, need int64, sync *pebble.WriteOptions) error {
	defer func() { _ = b.Close() }() // what matters is told by Commit
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.fence.err(); err != nil {
		return fmt.Errorf("%w: %w", storage.ErrReadOnly, err)
	}
	if b.Empty() {
		return nil
	}
	if need != always {
		if err := s.space.admit(int64(b.Len()), need); err != nil {
			return err
		}
	}
	waits := &s.unsynced
	if sync.Sync {
		waits = &s.synced
	}
	defer waits.end(waits.begin())
	if err := s.db.Apply(b, sync); err != nil {
		return fmt.Errorf("%w: %w", storage.ErrUnavailable, err)
	}
	if err := s.fence.err(); err != nil {
		return fmt.Errorf("%w: %w", storage.ErrUnavailable, err)
	}
	return nil
}

// get calls use with the value of key while it is valid, and reports whether
// there is one.
func (s *Store) get(key []byte, use func(value []byte) error) (bool, error) {
	value, closer, err := s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, readError(key, err)
	}
	err = use(value)
	return true, errors.Join(err, closer.Close())
}

// getNumber returns the number stored at key, zero if there is none.
func (s *Store) getNumber(key []byte) (n uint64, err error) {
	_, err = s.get(key, func(value []byte) error {
		n, err = number(key, value)
		return err
	})
	return n, err
}

// scan calls row for each row whose key begins with prefix, from the key from (or
// the first, if nil), until row returns false. Key and value are valid only
// during the call.
func (s *Store) scan(prefix, from []byte, row func(key, value []byte) (bool, error)) error {
	if from == nil {
		from = prefix
	}
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: after(prefix)})
	if err != nil {
		return readError(prefix, err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return errors.Join(readError(it.Key(), err), it.Close())
		}
		more, err := row(it.Key(), value)
		if err != nil {
			return errors.Join(err, it.Close())
		}
		if !more {
			break
		}
	}
	return closeIter(it, prefix)
}

func closeIter(it io.Closer, key []byte) error {
	if err := it.Close(); err != nil {
		return readError(key, err)
	}
	return nil
}

// readError classes an error of a read at or near key.
func readError(key []byte, err error) error {
	if pebble.IsCorruptionError(err) || errors.Is(err, storage.ErrCorrupt) {
		return fmt.Errorf("%w: at row %.200q: %w", storage.ErrCorrupt, key, err)
	}
	return fmt.Errorf("%w: read row %.200q: %w", storage.ErrUnavailable, key, err)
}
