package broker

import (
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"tidings/delivery"
	"tidings/hooks"
)

// What tests of the wire put in the engine's place.
type (
	EngineForTest  = engine
	SessionForTest = session
	TurnForTest    = turn
)

// NewForTest is New with any engine.
func NewForTest(cfg Config, e EngineForTest, r RPC) (*Server, error) { return newServer(cfg, e, r) }

// ServeConnForTest serves one connection by the goroutine driver until it ends.
func (s *Server) ServeConnForTest(nc net.Conn, plain bool) {
	if s.begin(nil) != nil {
		nc.Close()
		return
	}
	if w := s.newNetWire(nc, "test", plain); w != nil {
		w.serve()
	}
}

// stillWire is a wire on which nothing happens.
type stillWire struct{}

func (stillWire) direct() bool                                   { return true }
func (stillWire) write([]byte) (int, error)                      { return 0, nil }
func (stillWire) writeWithin([]byte, time.Duration) (int, error) { return 0, nil }
func (stillWire) full()                                          {}
func (stillWire) fed()                                           {}
func (stillWire) wake()                                          {}

// InputForTest is a connection without a network, after its login.
type InputForTest struct {
	c *conn
	r *round
}

// NewInputForTest returns a connection that has logged in, of a server whose
// engine does nothing.
func NewInputForTest(tb testing.TB, version byte) *InputForTest {
	tb.Helper()
	s, err := newServer(Config{}, nil, nil)
	if err != nil {
		tb.Fatal(err)
	}
	c := newConn(s, stillWire{}, netip.AddrPort{}, "test", false)
	c.state, c.version, c.problemInfo = stateOpen, version, true
	c.out.started = true
	c.out.aliases.limit = 8
	c.sess = stillSession{}
	c.ident = delivery.Identity{Actor: hooks.Actor{UserName: "alice"}}
	return &InputForTest{c, &round{turn: stillTurn{}}}
}

// Input feeds bytes.
func (i *InputForTest) Input(b []byte) {
	i.c.inflight.Store(0)
	i.c.input(b, i.r)
}

// Link returns the connection as the engine sees it.
func (i *InputForTest) Link() delivery.Link { return i.c }

// Discard forgets the output, as if it had been written.
func (i *InputForTest) Discard() {
	o := &i.c.out
	if o.next != nil {
		putBuffer(o.next)
		o.next = nil
	}
}

type stillSession struct{ session }

func (stillSession) Ack(uint16, bool) bool { return true }
func (stillSession) Completed(uint16) bool { return true }

type stillTurn struct{}

func (stillTurn) Publish(session, *delivery.Publish)              {}
func (stillTurn) Answer(session, uint16, byte, *delivery.Refusal) {}
func (stillTurn) Received(session, uint16, bool) bool             { return true }
func (stillTurn) Released(session, uint16, bool)                  {}
func (stillTurn) Commit()                                         {}

// FeedForTest feeds a new connection pieces of input, running its jobs as they
// come, and returns what it answered and how it ended.
func FeedForTest(tb testing.TB, e EngineForTest, pieces [][]byte) string {
	tb.Helper()
	s, err := newServer(Config{MaximumPacketSize: 1024, TopicAliasMaximum: 3, ReceiveMaximum: 5}, e, nil)
	if err != nil {
		tb.Fatal(err)
	}
	c := newConn(s, stillWire{}, netip.AddrPort{}, "test", false)
	r := &round{turn: e.NewTurn()}
	settle := func() {
		r.turn.Commit()
		for c.job != nil {
			c.job.run()
			c.job = nil
			c.input(nil, r)
			r.turn.Commit()
		}
	}
	for _, p := range pieces {
		c.input(p, r)
		settle()
		for c.held != nil && !c.resting() { // what waited for an answer
			before := len(c.held.b)
			c.input(nil, r)
			settle()
			if c.held != nil && len(c.held.b) == before {
				break
			}
		}
	}
	if n := s.counters.panics.Load(); n > 0 {
		tb.Errorf("%d panics", n)
	}
	held := 0
	if c.held != nil && c.state != stateClosed {
		held = len(c.held.b)
	}
	var out []byte
	for _, b := range []*buffer{c.out.cur, c.out.next} {
		if b != nil {
			out = append(out, b.b...)
		}
	}
	return fmt.Sprintf("%s\nended %v %+v, state %d, held %d, in flight %d", hex.EncodeToString(out), c.out.ended, c.out.end, c.state, held, c.inflight.Load())
}

// SetMaxWaitingWills changes how many wills may wait. It is called before the
// server serves.
func (s *Server) SetMaxWaitingWills(n int) { s.wills.max = n }
