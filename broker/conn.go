package broker

import (
	"fmt"
	"log/slog"
	"net/netip"
	"runtime/debug"
	"sync/atomic"
	"time"

	"tidings/delivery"
)

// wire is what a connection needs of its driver. Its methods never block except
// writeWithin, and may be called from any goroutine unless said otherwise.
type wire interface {
	// direct tells that write may be used, and not writeWithin alone.
	direct() bool
	// write gives the network as much of b as it takes at once. One goroutine at a
	// time calls it.
	write(b []byte) (int, error)
	// writeWithin writes b and blocks, at most for d. One goroutine at a time calls it.
	writeWithin(b []byte, d time.Duration) (int, error)
	// full tells that write took less than it was given.
	full()
	// fed asks for a call of Session.Writable.
	fed()
	// wake asks the driver to look at the connection again: it has ended, or its
	// input may go on.
	wake()
}

// state is how far a connection has come.
type state uint8

const (
	stateNew    state = iota // CONNECT is awaited
	stateLogin               // CONNECT is being answered
	stateAuth                // the next message of the client's authentication is awaited
	stateOpen                // CONNACK has been appended
	stateClosed              // nothing is read any more
)

// round is what the goroutine of a driver uses for one read round. It belongs to
// that goroutine.
type round struct {
	turn    turn
	publish delivery.Publish // scratch: passing its address on costs no allocation
	ps      props            // scratch for the properties of a publish
	props   []byte           // the same, for those of them that receivers get
	dirty   []*conn          // have output of their own to flush
	packets [16]uint64
	bytes   uint64
}

// flush commits the turn, which may block while the engine is full, and hands the
// answers to the network.
func (r *round) flush(s *Server) {
	r.turn.Commit()
	for i, c := range r.dirty {
		c.dirty = false
		c.Flush()
		r.dirty[i] = nil
	}
	r.dirty = r.dirty[:0]
	if cap(r.props) > maxPooled {
		r.props = nil
	}
	for t, n := range r.packets {
		if n > 0 {
			s.counters.packetsIn[t].Add(n)
			r.packets[t] = 0
		}
	}
	if r.bytes > 0 {
		s.counters.bytesIn.Add(r.bytes)
		r.bytes = 0
	}
}

// job is work of a connection that may block. The connection's input rests until
// the driver, having run it, calls conn.input again.
type job struct {
	pool *pool
	run  func()
}

// conn is one network connection. It implements delivery.Link.
type conn struct {
	// Fixed after construction.
	srv     *Server
	wire    wire
	remote  netip.AddrPort
	opened  int64 // coarse time in ms
	carrier string
	plain   bool // came by a listener for conformance tests

	// Input half: of the driver's goroutine, or of the job it runs for the connection.
	state     state
	dirty     bool
	paused    bool // the input has stopped at a PUBLISH; wire.wake tells, or has told, when it may go on
	job       *job
	held      *buffer // what has been read and not yet consumed
	skipping  skip
	aliases   aliases // that the client has set
	sess      session
	ident     delivery.Identity
	peer      peer
	auth      *enhanced // nil: CONNECT named no authentication method
	will      *will
	expiry    uint32 // session expiry interval in seconds
	saved     bool   // the store holds a kept of this connection
	finishing bool

	// Fixed at CONNECT; the output half reads them once out.started is set.
	version     byte
	aliasLimit  int  // topic aliases that the client may use
	maxPacket   int  // of the client's, 0: no limit
	problemInfo bool // reason strings and user properties are wanted

	inflight atomic.Int32 // publishes without an acknowledgement
	stopped  atomic.Bool  // a 3.1.1 connection at its Receive Maximum: not read from
	lastIn   atomic.Int64 // coarse time of the last bytes, in ms
	admitted atomic.Int32 // admittedNew …, changed under admission.mu
	patience atomic.Int64 // how long the client may be silent, in ms; 0: for ever
	linger   atomic.Int64 // coarse time when lingering ends, in ms; 0: not lingering

	out   output
	timer timer // guarded by the wheel
}

// peer is what CONNECT said about the client, where it is needed later.
type peer struct {
	client   string
	assigned bool
}

func newConn(s *Server, w wire, remote netip.AddrPort, carrier string, plain bool) *conn {
	c := &conn{srv: s, wire: w, remote: remote, carrier: carrier, plain: plain, opened: s.clock.now(), aliasLimit: s.aliasLimit(plain)}
	c.lastIn.Store(c.opened)
	return c
}

// log returns a logger that names the connection. It is for rare events.
func (c *conn) log() *slog.Logger {
	return c.srv.log.With("remote", c.remote.String(), "carrier", c.carrier)
}

// resting tells that the input may not go on now: a job runs, acknowledgements
// are awaited, or the connection has ended.
func (c *conn) resting() bool {
	return c.job != nil || c.state == stateClosed || c.stopped.Load()
}

// input consumes what has been read, in order after what is held from before. It
// keeps a copy of what it cannot consume yet. The driver calls it with nil after
// a job or a pause.
func (c *conn) input(p []byte, r *round) {
	defer c.guard()
	if len(p) > 0 {
		c.lastIn.Store(c.srv.clock.now())
		r.bytes += uint64(len(p))
	}
	for c.held != nil && !c.resting() {
		h := c.held
		n := min(c.missing(h.b), len(p))
		h.b = append(h.b, p[:n]...)
		p = p[n:]
		used := c.consume(h.b, r)
		rest := copy(h.b, h.b[used:])
		h.b = h.b[:rest]
		switch {
		case rest == 0:
			c.held = nil
			putBuffer(h)
		case used == 0 && len(p) == 0:
			return
		}
	}
	if c.held == nil && !c.resting() {
		p = p[c.consume(p, r):]
	}
	if len(p) > 0 && c.state != stateClosed {
		if c.held == nil {
			c.held = getBuffer()
		}
		c.held.b = append(c.held.b, p...)
	}
}

// guard catches a panic of our own code: it ends this connection and no other.
func (c *conn) guard() {
	v := recover()
	if v == nil {
		return
	}
	n := c.srv.counters.panics.Add(1)
	if n&(n-1) == 0 { // a client may be able to repeat it: the 1st, 2nd, 4th … is logged
		// The value may hold what must not be logged.
		c.log().Error("connection handler panicked", "value_type", fmt.Sprintf("%T", v), "stack", string(debug.Stack()), "count", n)
	}
	c.end(ending{word: "panic", code: codeImplementation})
	c.state = stateClosed
}

// touch notes that the connection has output to flush at the end of the round.
func (c *conn) touch(r *round) {
	if !c.dirty {
		c.dirty = true
		r.dirty = append(r.dirty, c)
	}
}

// append adds a packet of our own to the output, unless the connection has ended.
func (c *conn) append(kind byte, r *round, f func(b []byte) []byte) {
	o := &c.out
	tooLarge := false
	o.mu.Lock()
	if !o.ended && !o.dead {
		b := o.bufferLocked()
		before := len(b.b)
		if b.b = f(b.b); c.maxPacket > 0 && len(b.b)-before > c.maxPacket {
			// Most likely a SUBACK of many filters. Nothing of it may be left out.
			b.b = b.b[:before]
			tooLarge = c.endLocked(ending{word: "answer_too_large", code: codeImplementation})
		} else {
			o.packets[kind]++
		}
	}
	o.mu.Unlock()
	if tooLarge {
		c.wire.wake()
	}
	if r != nil {
		c.touch(r)
	}
}

// release gives back what the input half holds. The driver calls it when nothing
// will be read any more.
func (c *conn) release() {
	c.state = stateClosed
	if c.held != nil {
		putBuffer(c.held)
		c.held = nil
	}
	c.aliases = aliases{}
}
