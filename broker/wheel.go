package broker

import (
	"sync"
	"time"
)

// wheel looks after the deadlines of all connections without a timer for each. A
// connection stands in the slot of the tick at which it is to be looked at next;
// what it then misses (CONNECT, a packet within its keep alive, progress of a
// write, the end of lingering) is worked out from the connection itself, so that
// traffic costs the wheel nothing.
type wheel struct {
	mu    sync.Mutex
	slots [wheelSlots]timer // heads of rings
	at    int               // slot of the present tick
}

// wheelSlots ticks are the farthest that a connection is looked at ahead; later
// deadlines take several rounds.
const wheelSlots = 2048

// timer is a connection's place in the wheel. The fields are guarded by wheel.mu.
type timer struct {
	prev, next *timer
	c          *conn
	due        int64 // coarse time in ms
}

func (w *wheel) init() {
	for i := range w.slots {
		t := &w.slots[i]
		t.prev, t.next = t, t
	}
}

func (t *timer) unlink() {
	if t.next != nil {
		t.prev.next, t.next.prev = t.next, t.prev
		t.prev, t.next = nil, nil
	}
}

// expect has c looked at in d, or earlier where that was so already; zero means
// never, as far as d goes.
func (w *wheel) expect(c *conn, d time.Duration) {
	if d <= 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if due := c.srv.clock.now() + d.Milliseconds(); c.timer.next == nil || due < c.timer.due {
		w.placeLocked(c, due)
	}
}

func (w *wheel) placeLocked(c *conn, due int64) {
	t := &c.timer
	if t.c == removed {
		return
	}
	t.unlink()
	t.c, t.due = c, due
	ahead := (due-c.srv.clock.now())/tick.Milliseconds() + 1
	head := &w.slots[(w.at+int(min(max(ahead, 1), wheelSlots-1)))%wheelSlots]
	t.prev, t.next = head.prev, head
	head.prev.next, head.prev = t, t
}

// removed marks the timers of connections that are gone.
var removed = new(conn)

// remove takes c out for good.
func (w *wheel) remove(c *conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c.timer.unlink()
	c.timer.c = removed
}

// turn moves the wheel by one tick and returns the connections to look at.
func (w *wheel) turn(due []*conn) []*conn {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at = (w.at + 1) % wheelSlots
	head := &w.slots[w.at]
	for head.next != head {
		t := head.next
		t.unlink()
		due = append(due, t.c)
	}
	return due
}

// sweep looks after the deadlines until the server's context ends.
func (s *Server) sweep() {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	var due []*conn
	for {
		select {
		case <-s.stopped:
			return
		case <-ticker.C:
		}
		s.clock.advance()
		s.wills.sendDue()
		due = s.wheel.turn(due[:0])
		for i, c := range due {
			s.wheel.expect(c, c.check())
			due[i] = nil
		}
	}
}

// check ends the connection if it has missed a deadline, and returns when to look
// again, zero if there is nothing to look after.
func (c *conn) check() time.Duration {
	now := c.srv.clock.now()
	next := time.Duration(0)
	sooner := func(d time.Duration) {
		if next == 0 || d < next {
			next = max(d, tick)
		}
	}
	if until := c.linger.Load(); until > 0 {
		if now >= until {
			c.wire.wake()
		}
		return max(time.Duration(until-now)*time.Millisecond, tick)
	}
	if stalled := c.stalledFor(now); stalled > 0 {
		if stalled >= c.srv.cfg.WriteTimeout {
			c.end(ending{word: "write_timeout", abrupt: true})
		}
		sooner(c.srv.cfg.WriteTimeout - stalled)
	}
	patience := time.Duration(c.patience.Load()) * time.Millisecond
	silent := time.Duration(now-c.lastIn.Load()) * time.Millisecond
	switch {
	case c.admitted.Load() == admittedNew:
		left := c.srv.cfg.ConnectTimeout - time.Duration(now-c.opened)*time.Millisecond
		if left <= 0 {
			c.end(ending{word: "connect_timeout", abrupt: true})
		}
		sooner(left)
	case patience > 0:
		// One that is not read from is not silent; its output or its acks have their own deadlines.
		if silent >= patience && !c.stopped.Load() && !c.chokedNow() {
			c.end(ending{word: "keepalive", code: codeKeepAlive})
		}
		sooner(patience - silent)
	}
	return next
}
