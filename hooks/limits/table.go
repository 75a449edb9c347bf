package limits

import (
	"math"
	"sync"
	"time"
)

// table is the buckets of one kind of sender, by id.
type table struct {
	cost  cost
	burst time.Duration
	limit int // entries per shard

	shards [64]shard
}

// cost is the time that it takes to earn one message and one byte, in nanoseconds.
// What is charged is rounded up, so that a rate is never exceeded, and at most a
// day for one message.
type cost struct{ message, byte float64 }

func (c cost) of(size int) bucket {
	return bucket{roundUp(c.message), roundUp(c.byte * float64(size))}
}

func roundUp(ns float64) time.Duration {
	return time.Duration(min(math.Ceil(ns), float64(24*time.Hour)))
}

type shard struct {
	mu       sync.Mutex
	buckets  map[uint64]bucket
	sweep    int // entries at which full buckets are looked for next
	forgiven uint64
	_        [64]byte // shards do not share cache lines
}

// bucket says when a sender will have earned all that it has used.
type bucket struct{ messages, bytes time.Duration }

func (b bucket) full(now time.Duration) bool { return b.messages <= now && b.bytes <= now }

const minSweep = 64

func newTable(r Rate, burst time.Duration, limit int) *table {
	t := &table{burst: burst, limit: limit}
	if r.Messages > 0 {
		t.cost.message = float64(time.Second) / r.Messages
	}
	if r.Bytes > 0 {
		t.cost.byte = float64(time.Second) / r.Bytes
	}
	return t
}

// account is the bucket of one sender, locked. Without a limit it is empty and
// nothing is locked.
type account struct {
	table *table // nil: not limited
	shard *shard
	id    uint64
	bucket
}

// lock returns the account of id until unlock.
func (t *table) lock(id uint64) account {
	if t.cost == (cost{}) || id == 0 {
		return account{}
	}
	s := &t.shards[id*0x9E3779B97F4A7C15>>58] // ids are dense: mix them
	s.mu.Lock()
	return account{table: t, shard: s, id: id, bucket: s.buckets[id]}
}

func (a *account) unlock() {
	if a.table != nil {
		a.shard.mu.Unlock()
	}
}

// over tells whether the burst is used up. A publish passes as long as any of the
// burst is left, however large it is: the rest is earned afterwards.
func (a *account) over(now time.Duration) bool {
	return a.table != nil && max(a.messages, a.bytes) >= now+a.table.burst
}

// charge takes one message of that size from the bucket.
func (a *account) charge(now time.Duration, size int) {
	if a.table == nil {
		return
	}
	c := a.table.cost.of(size)
	a.messages = max(a.messages, now) + c.messages
	a.bytes = max(a.bytes, now) + c.bytes
	a.shard.putLocked(a.id, a.bucket, now, a.table.limit)
}

func (s *shard) putLocked(id uint64, b bucket, now time.Duration, limit int) {
	if s.buckets == nil {
		s.buckets = make(map[uint64]bucket)
		s.sweep = minSweep
	}
	if len(s.buckets) >= min(s.sweep, limit) {
		if _, known := s.buckets[id]; !known {
			s.makeRoomLocked(now, limit)
		}
	}
	s.buckets[id] = b
}

// makeRoomLocked drops full buckets, and one that is not full if that frees none
// of the limit. The next sweep is due at twice the rest, so that sweeping costs no
// more than a few steps for each new entry.
func (s *shard) makeRoomLocked(now time.Duration, limit int) {
	for id, b := range s.buckets {
		if b.full(now) {
			delete(s.buckets, id)
		}
	}
	s.sweep = max(minSweep, 2*len(s.buckets))
	if len(s.buckets) < limit {
		return
	}
	for id := range s.buckets {
		delete(s.buckets, id)
		s.forgiven++
		return
	}
}

// size returns how many buckets are remembered and how many were forgiven.
func (t *table) size() (n int, forgiven uint64) {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		n += len(s.buckets)
		forgiven += s.forgiven
		s.mu.Unlock()
	}
	return n, forgiven
}
