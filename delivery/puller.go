package delivery

import (
	"context"
	"sync"
	"time"
)

// pullers read logs for sessions that have fallen behind or have just connected.
// A session is in the queue at most once, so that the queue is bounded by the
// sessions, and how much is read at once by the number of pullers.
type pullers struct {
	e *Engine

	mu     sync.Mutex
	work   sync.Cond
	queue  []*Session
	closed bool
}

// Turn sizes: how much one session gets before the next one has its turn.
const (
	pullEntries = 32
	pullBytes   = 256 << 10
	loadPage    = 500
)

func newPullers(e *Engine) *pullers {
	p := &pullers{e: e}
	p.work.L = &p.mu
	return p
}

func (p *pullers) add(s *Session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue = append(p.queue, s)
	p.work.Signal()
}

func (p *pullers) take() *Session {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.queue) == 0 {
		if p.closed {
			return nil
		}
		p.work.Wait()
	}
	if p.closed {
		return nil
	}
	s := p.queue[0]
	p.queue[0] = nil
	p.queue = p.queue[1:]
	return s
}

func (p *pullers) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.work.Broadcast()
}

// run serves sessions until the pullers are closed.
func (p *pullers) run() {
	w := &puller{e: p.e, live: live{d: &Delivery{}}, open: openLive{d: &Delivery{}}}
	for s := p.take(); s != nil; s = p.take() {
		err := w.serve(p.e.ctx, s)
		if err != nil && p.e.ctx.Err() == nil {
			p.e.log.Error("cannot read an inbox", "err", err, "user", uint64(s.user()), "device", uint64(s.device()))
			p.e.retryLater(s)
			continue
		}
		s.mu.Lock()
		s.queued = false
		s.wakeLocked()
		s.mu.Unlock()
	}
}

// pullRetry is how long a session waits after the store could not be read.
const pullRetry = 500 * time.Millisecond

// puller is one goroutine's worth of scratch.
type puller struct {
	e    *Engine
	live live
	open openLive
	buf  []byte
}

// serve gives a session one turn: first its heads if it has just connected, then
// what an earlier connection has left unacknowledged, then the log of one chat.
func (w *puller) serve(ctx context.Context, s *Session) error {
	s.mu.Lock()
	load, loaded, resend, pump := s.load, s.loaded, s.resendingLocked(), len(s.pump) > 0
	s.load, s.loaded = false, false
	s.mu.Unlock()
	if load {
		if err := w.load(ctx, s); err != nil {
			s.mu.Lock()
			s.load = true
			s.mu.Unlock()
			return err
		}
		loaded = w.e.progress.passed(s)
	}
	if loaded {
		if err := w.finishLoad(ctx, s); err != nil {
			s.mu.Lock()
			s.loaded = true
			s.mu.Unlock()
			return err
		}
	}
	if resend {
		for _, win := range [...]*window{&s.window, &s.queue} {
			if done, err := w.resend(ctx, s, win); err != nil || !done {
				return err
			}
		}
	}
	var later error // must not keep from the session what has nothing to do with it
	if pump {
		later = w.sendRetained(ctx, s)
	}
	if err := w.pull(ctx, s); err != nil {
		return err
	}
	return later
}
