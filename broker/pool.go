package broker

import "sync"

// pool runs functions that may block, a bounded number at once, in the order in
// which they came. Its queue is bounded by its callers: a connection has one job,
// a device a few calls, and only so many wills wait for their delay.
type pool struct {
	srv *Server
	max int

	mu      sync.Mutex
	queue   []func()
	running int
}

// submit has f run soon. It does not block.
func (p *pool) submit(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue = append(p.queue, f)
	if p.running < p.max {
		p.running++
		p.srv.spawn(p.work)
	}
}

// work runs what is queued until nothing is.
func (p *pool) work() {
	for {
		p.mu.Lock()
		if len(p.queue) == 0 {
			p.queue = nil
			p.running--
			p.mu.Unlock()
			return
		}
		f := p.queue[0]
		p.queue[0] = nil
		p.queue = p.queue[1:]
		p.mu.Unlock()
		f()
	}
}

// do has f run and waits for it.
func (p *pool) do(f func()) {
	done := make(chan struct{})
	p.submit(func() {
		defer close(done)
		f()
	})
	<-done
}
