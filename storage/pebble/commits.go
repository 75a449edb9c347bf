package pebble

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrStalled is what Health reports while the disk leaves writes waiting. Nothing
// is lost and nothing refused by that: the calls go on when the disk does.
var ErrStalled = errors.New("the disk does not answer")

// commits measures the writes of one kind, and notices when the disk leaves them
// waiting. All writes go through one log, so one that ends tells that the disk
// works for those behind it as well: what counts is how long none has ended,
// not how long one takes.
type commits struct {
	mu      sync.Mutex
	waiting int
	moved   time.Time // the later of: one has ended, the first of those that wait has begun
	took    [len(commitBounds) + 1]uint64
	sum     time.Duration
}

// commitBounds are the upper bounds of what is counted apart.
var commitBounds = [...]time.Duration{
	100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second,
}

// begin notes a write that begins and returns when.
func (c *commits) begin() time.Time {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting == 0 {
		c.moved = now
	}
	c.waiting++
	return now
}

// end notes that the write which began then has ended, well or badly.
func (c *commits) end(began time.Time) {
	now := time.Now()
	took := now.Sub(began)
	bucket := 0
	for bucket < len(commitBounds) && took > commitBounds[bucket] {
		bucket++
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting--
	c.moved = now
	c.took[bucket]++
	c.sum += took
}

// still returns for how long writes have been waiting without one that ended;
// zero if none waits.
func (c *commits) still() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting == 0 {
		return 0
	}
	return time.Since(c.moved)
}

// Latency says how long calls took: how many, how long together, and how many
// of them no longer than some bounds.
type Latency struct {
	Count  uint64
	Sum    time.Duration
	Within map[time.Duration]uint64
}

func (c *commits) latency() Latency {
	l := Latency{Within: make(map[time.Duration]uint64, len(commitBounds))}
	c.mu.Lock()
	defer c.mu.Unlock()
	l.Sum = c.sum
	for i, n := range c.took {
		l.Count += n
		if i < len(commitBounds) {
			l.Within[commitBounds[i]] = l.Count
		}
	}
	return l
}

// stalled returns ErrStalled with details while the disk leaves writes waiting.
func (s *Store) stalled() error {
	if d := max(s.synced.still(), s.unsynced.still()); d >= s.stallAfter {
		return fmt.Errorf("%w: no write has ended for %v", ErrStalled, d.Truncate(100*time.Millisecond))
	}
	return nil
}

// noticeStall tells the log when a stall has begun and when it is over. It is
// called again and again by one goroutine, with what it returned before.
func (s *Store) noticeStall(before bool) (now bool) {
	err := s.stalled()
	switch now = err != nil; {
	case now && !before:
		s.log.Error("writes are waiting for the disk", "error", err)
	case before && !now:
		s.log.Warn("the disk answers again")
	}
	return now
}
