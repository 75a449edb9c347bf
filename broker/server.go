package broker

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"tidings/delivery"
	"tidings/hooks"
)

// ErrClosed is what Serve methods return once Shutdown was called.
var ErrClosed = errors.New("broker is shut down")

// Server serves MQTT connections. Its methods may be called from any goroutine.
type Server struct {
	cfg    Config
	log    *slog.Logger
	engine engine
	rpc    RPC

	clock     *clock
	wheel     wheel
	admission admission
	counters  counters
	wills     *wills
	calls     *calls

	logins, requests, operations, posts *pool

	rounds sync.Pool // of *round, for the goroutine driver

	loginFailures atomic.Uint64
	openFailures  atomic.Uint64 // logins and sessions that failed for no fault of the client
	draining      atomic.Bool   // new connections are sent to another server

	ctx     context.Context // of what the server does on its own; ends when Shutdown gives up
	cancel  context.CancelFunc
	closing chan struct{} // closed when Shutdown begins
	stopped chan struct{} // closed when Shutdown begins to end the goroutines

	mu        sync.Mutex
	closed    bool
	listeners map[net.Listener]struct{}
	loops     []*loop
	turn      int // of loops
	swept     bool

	work sync.WaitGroup // transient goroutines and connections
	base sync.WaitGroup // loops and the sweeper
}

// New returns a server that stands on engine e. Operations on rpc/… topics go to
// r; nil: there are none. It starts nothing.
func New(cfg Config, e *delivery.Engine, r RPC) (*Server, error) {
	return newServer(cfg, deliveryEngine{e}, r)
}

func newServer(cfg Config, e engine, r RPC) (*Server, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, log: cfg.Logger, engine: e, rpc: r, clock: newClock(), closing: make(chan struct{}), stopped: make(chan struct{}), listeners: make(map[net.Listener]struct{})}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.wheel.init()
	s.admission.all = make(map[*conn]struct{})
	s.admission.from = make(map[netip.Addr]int)
	s.counters.refused, s.counters.closed = make(map[string]uint64), make(map[string]uint64)
	s.rounds.New = func() any { return &round{turn: e.NewTurn()} }
	s.wills, s.calls = newWills(s), newCalls(s)
	s.logins = &pool{srv: s, max: cfg.Logins}
	s.requests = &pool{srv: s, max: cfg.Requests}
	s.operations = &pool{srv: s, max: cfg.Calls}
	s.posts = &pool{srv: s, max: willPosts}
	return s, nil
}

// spawn runs f in a goroutine that Shutdown waits for.
func (s *Server) spawn(f func()) {
	s.work.Go(func() {
		defer s.guard()
		f()
	})
}

// guard counts and logs a panic of a goroutine that belongs to no connection's
// input.
func (s *Server) guard() {
	if v := recover(); v != nil {
		s.counters.panics.Add(1)
		s.log.Error("carrier goroutine panicked", "stack", string(debug.Stack()))
	}
}

// begin starts the sweeper once, and registers a listener. It fails after
// Shutdown.
func (s *Server) begin(ln net.Listener) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	if ln != nil {
		s.listeners[ln] = struct{}{}
	}
	if !s.swept {
		s.swept = true
		s.base.Go(s.sweep)
	}
	return nil
}

// Shutdown stops accepting, tells the clients with reason code 0x8B, and waits
// until all sessions are closed, at most until ctx ends. With a ServerReference the
// clients get 0x9C and that, and who comes before all sessions are closed is told
// the same.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	if s.closed || s.draining.Load() {
		s.mu.Unlock()
		return ErrClosed
	}
	s.draining.Store(s.cfg.ServerReference != "")
	s.mu.Unlock()
	if s.draining.Load() {
		s.redirect(ctx)
	}
	s.mu.Lock()
	s.closed = true
	close(s.closing)
	for ln := range s.listeners {
		ln.Close()
	}
	s.mu.Unlock()
	for _, c := range s.admission.shut() {
		c.end(engineEnding(delivery.ReasonShutdown))
	}
	done := make(chan struct{})
	go func() {
		s.settle()
		close(done)
	}()
	select {
	case <-done:
		s.cancel()
		return nil
	case <-ctx.Done():
		s.cancel()
		return ctx.Err()
	}
}

// redirect sends the clients that have logged in to another server and waits until
// they are gone, at most until ctx ends. The listeners stay open meanwhile.
func (s *Server) redirect(ctx context.Context) {
	open, gone := s.admission.drain()
	for _, c := range open {
		c.end(engineEnding(delivery.ReasonShutdown))
	}
	select {
	case <-gone:
	case <-ctx.Done():
	}
}

// loginFailed logs a login that was refused: the 1st, 2nd, 4th, 8th …, since a
// guesser makes many.
func (s *Server) loginFailed(c *conn, err error) {
	if errors.Is(err, hooks.ErrUnavailable) {
		if n := s.openFailures.Add(1); n&(n-1) == 0 {
			s.log.Warn("login not possible", "remote", c.remote.String(), "error", err, "count", n)
		}
		return
	}
	if n := s.loginFailures.Add(1); n&(n-1) == 0 {
		s.log.Info("login refused", "remote", c.remote.String(), "error", err, "count", n)
	}
}

// settle waits for the connections and what they have begun, then ends the
// goroutines of the server itself.
func (s *Server) settle() {
	s.wills.shut()
	s.work.Wait()
	close(s.stopped)
	s.mu.Lock()
	for _, l := range s.loops {
		l.signal()
	}
	s.mu.Unlock()
	s.base.Wait()
}

// register takes a new connection into the server's care until unregister, or
// refuses it.
func (s *Server) register(c *conn) bool {
	s.counters.accepted.Add(1)
	if reason := s.admit(c); reason != "" {
		s.counters.refuse(reason)
		return false
	}
	s.wheel.expect(c, s.cfg.ConnectTimeout)
	return true
}

// unregister lets a connection go whose network connection is closed and whose
// session is being closed.
func (s *Server) unregister(c *conn) {
	s.wheel.remove(c)
	s.admission.gone(c)
	s.work.Done()
}
