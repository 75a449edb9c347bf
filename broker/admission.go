package broker

import (
	"net/netip"
	"sync"
)

// admission counts network connections and bounds how many there are.
type admission struct {
	mu      sync.Mutex
	all     map[*conn]struct{}
	fresh   int // without a successful login
	from    map[netip.Addr]int
	closing bool
	drained chan struct{} // closed when none is left that has logged in; nil: nobody waits for that
}

// Values of conn.admitted.
const (
	admittedNew  = iota // counts as unauthenticated
	admittedFull        // has logged in
	admittedGone
)

// site is whom an address is counted for: itself, or for IPv6 its /64 network, of
// which one customer has all.
func site(a netip.Addr) netip.Addr {
	if !a.Is6() || a.Is4In6() {
		return a.Unmap()
	}
	p, err := a.WithZone("").Prefix(64)
	if err != nil {
		return a
	}
	return p.Addr()
}

// admit counts a new connection in, or tells why it is refused.
func (s *Server) admit(c *conn) (refused string) {
	a, cfg := &s.admission, &s.cfg
	addr := site(c.remote.Addr())
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.closing:
		return "shutdown"
	case len(a.all) >= cfg.MaximumConnections:
		return "too_many_connections"
	case a.fresh >= cfg.MaximumUnauthenticated:
		return "too_many_unauthenticated"
	case a.from[addr] >= cfg.MaximumPerAddress:
		return "too_many_from_address"
	}
	s.work.Add(1) // under the lock: Shutdown begins to wait after it has set closing
	a.all[c] = struct{}{}
	a.fresh++
	a.from[addr]++
	return ""
}

// authenticated tells that the connection has logged in.
func (a *admission) authenticated(c *conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c.admitted.CompareAndSwap(admittedNew, admittedFull) {
		a.lessFreshLocked(c)
	}
}

func (a *admission) lessFreshLocked(c *conn) {
	a.fresh--
	addr := site(c.remote.Addr())
	if a.from[addr]--; a.from[addr] == 0 {
		delete(a.from, addr)
	}
}

// gone counts a connection out whose network connection has been closed.
func (a *admission) gone(c *conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c.admitted.Swap(admittedGone) == admittedNew {
		a.lessFreshLocked(c)
	}
	delete(a.all, c)
	a.drainedLocked()
}

// drain returns the connections that have logged in, and a channel that is closed
// when there are none any more.
func (a *admission) drain() (open []*conn, gone <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for c := range a.all {
		if c.admitted.Load() == admittedFull {
			open = append(open, c)
		}
	}
	a.drained = make(chan struct{})
	gone = a.drained
	a.drainedLocked()
	return open, gone
}

func (a *admission) drainedLocked() {
	if a.drained != nil && len(a.all) == a.fresh {
		close(a.drained)
		a.drained = nil
	}
}

// shut refuses new connections from now on and returns those that are open.
func (a *admission) shut() []*conn {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closing = true
	open := make([]*conn, 0, len(a.all))
	for c := range a.all {
		open = append(open, c)
	}
	return open
}

func (a *admission) counts() (all, fresh int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.all), a.fresh
}
