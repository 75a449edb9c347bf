package broker

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// netWire drives one connection by a goroutine of its own: for TLS, WebSocket,
// in-memory connections and systems without our epoll loop.
type netWire struct {
	srv  *Server
	conn net.Conn
	c    *conn
	try  func(b []byte) (int, error) // writes without blocking; nil if the connection cannot

	mu      sync.Mutex    // held while the input half is in use
	resume  chan struct{} // the input may go on; capacity 1
	written chan struct{} // output of a connection that has ended was written; capacity 1
	closing sync.Once
}

// newNetWire returns the driver of a network connection, or nil, with the
// connection closed, if it is refused.
func (s *Server) newNetWire(nc net.Conn, carrier string, plain bool) *netWire {
	w := &netWire{srv: s, conn: nc, resume: make(chan struct{}, 1), written: make(chan struct{}, 1), try: nonBlocking(nc)}
	w.c = newConn(s, w, addrPort(nc.RemoteAddr()), carrier, plain)
	if !s.register(w.c) {
		nc.Close()
		return nil
	}
	return w
}

// serve serves the connection until it has ended.
func (w *netWire) serve() {
	defer w.srv.unregister(w.c)
	defer w.conn.Close()
	w.read()
}

func addrPort(a net.Addr) netip.AddrPort {
	if tcp, ok := a.(*net.TCPAddr); ok {
		ap := tcp.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	if a != nil {
		if ap, err := netip.ParseAddrPort(a.String()); err == nil {
			return ap
		}
	}
	return netip.AddrPort{}
}

func (w *netWire) direct() bool { return w.try != nil }

func (w *netWire) write(b []byte) (int, error) { return w.try(b) }

func (w *netWire) writeWithin(b []byte, d time.Duration) (int, error) {
	if err := w.conn.SetWriteDeadline(time.Now().Add(d)); err != nil {
		return 0, err
	}
	n, err := w.conn.Write(b)
	if err == nil && w.try != nil {
		err = w.conn.SetWriteDeadline(time.Time{}) // an old deadline would fail the next write that does not block
	}
	return n, err
}

func (w *netWire) full() { w.c.writeOn() }

func (w *netWire) fed() { w.srv.spawn(w.c.sess.Writable) }

func (w *netWire) wake() {
	signal(w.resume)
	if _, ended := w.c.ended(); ended {
		signal(w.written)
		w.closing.Do(func() { w.srv.spawn(w.close) })
	}
}

// signal puts a token into a channel of capacity 1.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// Sizes of read buffers: a connection begins with the small one, and goes on with
// the large one while it fills what it is given.
const (
	smallRead = 2 << 10
	largeRead = 32 << 10
)

// read is the connection's goroutine.
func (w *netWire) read() {
	small := make([]byte, smallRead)
	var large *buffer
	for {
		buf := small
		if large != nil {
			buf = large.b[:largeRead]
		}
		n, err := w.conn.Read(buf)
		w.feed(buf[:n])
		switch {
		case n == smallRead && large == nil:
			large = getBuffer()
			large.b = slices.Grow(large.b, largeRead)
		case n < smallRead && large != nil:
			putBuffer(large)
			large = nil
		}
		if err != nil {
			w.c.end(readEnding(err))
			w.closing.Do(func() { w.srv.spawn(w.close) })
			return
		}
	}
}

// feed gives what was read to the connection, and waits while its input rests.
func (w *netWire) feed(p []byte) {
	r := w.srv.rounds.Get().(*round)
	defer w.srv.rounds.Put(r)
	for w.take(p, r) {
		p = nil
		<-w.resume
	}
}

func readEnding(err error) ending {
	if errors.Is(err, io.EOF) {
		return ending{word: "eof", abrupt: true}
	}
	return ending{word: "error", abrupt: true}
}

// take feeds what was read, and runs the jobs that come of it. It tells whether
// the input has to rest.
func (w *netWire) take(p []byte, r *round) (rest bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.c
	defer c.guard()
	c.input(p, r)
	r.flush(w.srv)
	for c.job != nil {
		j := c.job
		j.pool.do(func() {
			defer c.guard()
			j.run()
		})
		c.job = nil
		c.input(nil, r)
		r.flush(w.srv)
	}
	if c.state == stateClosed {
		return false
	}
	return c.paused || c.choke() // stopped may have ended already, with the rest of the input still held
}

// close ends the connection: the session first, then the last bytes are given
// time to reach the client.
func (w *netWire) close() {
	w.mu.Lock() // no input is under way
	w.c.finish()
	w.mu.Unlock()
	signal(w.resume)
	e, _ := w.c.ended()
	if !e.abrupt {
		w.drain()
		if h, ok := w.conn.(interface{ CloseWrite() error }); ok && h.CloseWrite() == nil {
			w.conn.SetReadDeadline(time.Now().Add(w.srv.cfg.Linger))
			return // the reader closes at the end of the input, or at the deadline
		}
	}
	w.c.kill()
	w.conn.Close()
}

// drain waits until the last bytes are written, at most for the linger time.
func (w *netWire) drain() {
	w.c.Flush()
	ctx, cancel := context.WithTimeout(context.Background(), w.srv.cfg.Linger)
	defer cancel()
	for {
		done, _ := w.c.drained()
		if done {
			return
		}
		select {
		case <-w.written:
		case <-ctx.Done():
			return
		}
	}
}
