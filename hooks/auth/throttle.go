package auth

import (
	"sync"
	"time"
)

// patience is how a throttle answers failures: the first free ones cost nothing,
// each further one doubles the delay until the next try, from first up to longest.
// forget after the last failure all is forgotten.
type patience struct {
	free           int
	first, longest time.Duration
	forget         time.Duration
}

// throttle counts failures by key and says who has to wait. Its memory is
// bounded: a full table drops the mildest of a few entries for a new one.
type throttle[K comparable] struct {
	patience
	limit int
	start time.Time // fixed: times below are since then

	mu      sync.Mutex
	entries map[K]failures
}

type failures struct {
	count int
	last  time.Duration
	until time.Duration // no try before
}

func newThrottle[K comparable](p patience, limit int) *throttle[K] {
	return &throttle[K]{patience: p, limit: limit, start: time.Now(), entries: make(map[K]failures)}
}

// blocked tells whether key still has to wait.
func (t *throttle[K]) blocked(key K) bool {
	now := time.Since(t.start)
	t.mu.Lock()
	defer t.mu.Unlock()
	return now < t.entries[key].until
}

// failed counts one failure.
func (t *throttle[K]) failed(key K) {
	now := time.Since(t.start)
	t.mu.Lock()
	defer t.mu.Unlock()
	f, ok := t.entries[key]
	if !ok && len(t.entries) >= t.limit {
		t.makeRoomLocked(now)
	}
	if t.forgotten(f, now) {
		f = failures{}
	}
	f.count++
	f.last = now
	f.until = now + t.delay(f.count)
	t.entries[key] = f
}

// succeeded forgets the failures of key.
func (t *throttle[K]) succeeded(key K) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.entries, key)
}

func (t *throttle[K]) delay(count int) time.Duration {
	over := count - t.free
	if over <= 0 {
		return 0
	}
	// The shift stays far below overflow: longest is reached long before.
	return min(t.first<<min(over-1, 20), t.longest)
}

func (t *throttle[K]) forgotten(f failures, now time.Duration) bool {
	return now > f.last+t.forget
}

// makeRoomLocked drops one entry: a forgotten one, or the one with the fewest
// failures, among a few that the map happens to give first.
func (t *throttle[K]) makeRoomLocked(now time.Duration) {
	var victim K
	fewest, seen := 0, 0
	for k, f := range t.entries {
		if t.forgotten(f, now) {
			victim = k
			break
		}
		if seen == 0 || f.count < fewest {
			victim, fewest = k, f.count
		}
		if seen++; seen == 8 {
			break
		}
	}
	delete(t.entries, victim)
}
