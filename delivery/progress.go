package delivery

import (
	"sync"
	"sync/atomic"
)

// progress compares how far the committer and the router are, so that a session
// that has read heads from the store knows when everything it saw there has been
// offered to it, too: an entry that is offered later than it was read, delivered
// and acknowledged would else come twice.
type progress struct {
	appending atomic.Uint64 // number of the latest batch that may be in the store
	routed    atomic.Uint64 // number of the latest batch that has been routed

	waiting atomic.Int64 // length of fences
	mu      sync.Mutex
	fences  []fence
}

// fence is a session that waits for the router to pass a batch.
type fence struct {
	s     *Session
	batch uint64
}

// passed tells whether the router is behind everything that was in the store
// before the call. If it is not, the session gets a puller when it is.
func (p *progress) passed(s *Session) bool {
	batch := p.appending.Load()
	if p.routed.Load() >= batch {
		return true
	}
	p.waiting.Add(1)
	p.mu.Lock()
	p.fences = append(p.fences, fence{s, batch})
	p.mu.Unlock()
	if p.routed.Load() >= batch { // it may not have seen the fence
		p.release()
	}
	return false
}

// done notes that a batch has been routed.
func (p *progress) done(batch uint64) {
	p.routed.Store(batch)
	if p.waiting.Load() > 0 {
		p.release()
	}
}

// release lets the sessions go on whose batch has been routed.
func (p *progress) release() {
	routed := p.routed.Load()
	var ready []*Session
	p.mu.Lock()
	kept := p.fences[:0]
	for _, f := range p.fences {
		if f.batch <= routed {
			ready = append(ready, f.s)
		} else {
			kept = append(kept, f)
		}
	}
	clear(p.fences[len(kept):])
	p.fences = kept
	p.waiting.Add(-int64(len(ready)))
	p.mu.Unlock()
	for _, s := range ready {
		s.mu.Lock()
		s.loaded = true
		s.wakeLocked()
		s.mu.Unlock()
	}
}
