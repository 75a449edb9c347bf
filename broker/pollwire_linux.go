package broker

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// readSize is how much one connection may bring in one round.
const readSize = 64 << 10

// pollWire is a connection in a loop.
type pollWire struct {
	loop *loop
	fd   int
	c    *conn

	// Owned by the loop's goroutine.
	added    bool // is in the epoll set
	readable bool // a read may bring something
	hangup   bool // the client has closed its side: a short read is not the end
	eof      bool
	shut     bool // our side is closed for writing
	busy     bool // a job runs
	closed   bool
	released bool
	queued   bool // stands in again

	// Guarded by loop.mu.
	listed  bool // stands in posted
	jobDone bool
	hungry  bool // Session.Writable is due
}

var errNotDirect = errors.New("polled connections are not written to by blocking")

func (w *pollWire) direct() bool { return true }

// write is never called once the loop has closed the descriptor: kill makes the
// output dead under its lock when nobody is the writer.
func (w *pollWire) write(b []byte) (int, error) { return writeFD(w.fd, b) }

func (w *pollWire) writeWithin([]byte, time.Duration) (int, error) { return 0, errNotDirect }

// full: epoll tells when there is room. The wheel gives up on a client that takes
// nothing.
func (w *pollWire) full() { w.c.srv.wheel.expect(w.c, w.c.srv.cfg.WriteTimeout) }

func (w *pollWire) fed() {
	l := w.loop
	l.mu.Lock()
	defer l.mu.Unlock()
	w.hungry = true
	l.postLocked(w)
}

func (w *pollWire) wake() { w.loop.post(w) }

// advance does what can be done for a connection in this round.
func (l *loop) advance(w *pollWire) {
	c := w.c
	defer c.guard()
	if !w.busy && !w.closed {
		if c.held != nil {
			c.input(nil, &l.round)
		}
		if w.readable && (!c.resting() || c.state == stateClosed) && !c.choke() {
			l.read(w)
		}
		if c.job != nil {
			w.busy = true
			l.jobs = append(l.jobs, w)
		}
	}
	l.settle(w)
}

// read reads once. What remains is for the next round, so that no connection
// keeps the others waiting.
func (l *loop) read(w *pollWire) {
	n, err := unix.Read(w.fd, l.buf)
	switch {
	case errors.Is(err, unix.EAGAIN):
		w.readable = false
	case errors.Is(err, unix.EINTR):
	case err != nil || n <= 0:
		w.readable, w.eof = false, true
		w.c.end(readEOF(err))
	default:
		if n < len(l.buf) && !w.hangup {
			w.readable = false // drained: more will raise an edge
		}
		w.c.input(l.buf[:n], &l.round)
		if l.buf[0]>>4 == typePuback && !w.closed {
			// A client that acknowledges one by one, with Nagle's algorithm on, waits for
			// TCP's acknowledgement of the first before it sends the others; we would
			// delay it, having nothing to send until half the window is free.
			_ = unix.SetsockoptInt(w.fd, unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1)
		}
	}
	if w.readable && !w.queued {
		w.queued = true
		l.again = append(l.again, w)
	}
}

func readEOF(err error) ending {
	if err != nil {
		return ending{word: "error", abrupt: true}
	}
	return ending{word: "eof", abrupt: true}
}

// release lets a connection go that is both closed and finished.
func (l *loop) release(w *pollWire) {
	if w.closed && w.c.finishing && !w.released {
		w.released = true
		l.srv.unregister(w.c)
	}
}

func (l *loop) start(w *pollWire) {
	j := w.c.job
	j.pool.submit(func() {
		defer func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			w.jobDone = true
			l.postLocked(w)
		}()
		defer w.c.guard()
		j.run()
	})
}

// settle takes a connection that has ended towards its close: the last bytes are
// written, our side is shut, and the client gets the linger time to close its own.
func (l *loop) settle(w *pollWire) {
	c := w.c
	e, ended := c.ended()
	if !ended {
		return
	}
	if !w.busy && !c.finishing {
		l.lastWords(w)
		l.ending = append(l.ending, w)
	}
	if w.closed {
		return
	}
	now := c.srv.clock.now()
	if c.linger.Load() == 0 {
		c.linger.Store(now + c.srv.cfg.Linger.Milliseconds())
		c.srv.wheel.expect(c, c.srv.cfg.Linger)
	}
	if !e.abrupt && !w.eof && now < c.linger.Load() {
		c.Flush()
		done, dead := c.drained()
		if done && !dead && !w.shut {
			w.shut = true
			_ = unix.Shutdown(w.fd, unix.SHUT_WR)
		}
		if !dead {
			return
		}
	}
	l.close(w)
}

// lastReads bounds what is still taken from a connection that has ended.
const lastReads = 4

// lastWords takes what had arrived when the connection was ended from our side:
// an acknowledgement among it counts, and must not cost the device a repetition.
func (l *loop) lastWords(w *pollWire) {
	for range lastReads {
		if w.closed || w.eof || w.c.resting() {
			return
		}
		n, err := unix.Read(w.fd, l.buf)
		if err != nil || n <= 0 {
			return
		}
		w.c.input(l.buf[:n], &l.round)
	}
}

// close closes the descriptor, unless somebody is writing to it: the end of that
// posts w again.
func (l *loop) close(w *pollWire) {
	if !w.c.kill() {
		return
	}
	w.closed = true
	delete(l.conns, int32(w.fd))
	_ = unix.EpollCtl(l.epfd, unix.EPOLL_CTL_DEL, w.fd, nil)
	_ = unix.Close(w.fd)
	l.release(w)
}
