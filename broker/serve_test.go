package broker_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"tidings/broker"
	"tidings/internal/mqttest"
)

// mode is one way to reach a server.
type mode struct {
	name    string
	version byte
	cfg     func(cfg *broker.Config)
}

// run runs a test body in each mode: both protocols, both drivers.
func run(t *testing.T, body func(t *testing.T, m mode)) {
	for _, version := range []byte{mqttest.V311, mqttest.V5} {
		for _, portable := range []bool{false, true} {
			m := mode{name: "3.1.1", version: version, cfg: func(cfg *broker.Config) { cfg.Portable = portable }}
			if version == mqttest.V5 {
				m.name = "5"
			}
			if portable {
				m.name += "/goroutine"
			} else {
				m.name += "/native"
			}
			t.Run(m.name, func(t *testing.T) { body(t, m) })
		}
	}
}

// server is a server under test with its engine.
type server struct {
	t      *testing.T
	mode   mode
	engine *fakeEngine
	broker *broker.Server
	addr   string
}

// serve starts a server on loopback, which is shut down with the test.
func serve(t *testing.T, m mode, cfg broker.Config, e *fakeEngine, r broker.RPC) *server {
	t.Helper()
	return serveBy(t, (*broker.Server).ServeTCP, m, cfg, e, r)
}

// serveBy is serve with the kind of listener that it has.
func serveBy(t *testing.T, by func(*broker.Server, net.Listener) error, m mode, cfg broker.Config, e *fakeEngine, r broker.RPC) *server {
	t.Helper()
	if m.cfg != nil {
		m.cfg(&cfg)
	}
	b, err := broker.NewForTest(cfg, e, r)
	if err != nil {
		t.Fatal(err)
	}
	addr, served := listen(t, func(ln net.Listener) error { return by(b, ln) })
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 10*time.Second)
		defer cancel()
		if err := b.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-served; !errors.Is(err, broker.ErrClosed) {
			t.Errorf("serve: %v", err)
		}
		if n := b.Stats().Connections; n != 0 {
			t.Errorf("%d connections left", n)
		}
	})
	return &server{t, m, e, b, addr}
}

// listen has a loopback address served in the background, and returns it and, once
// that has ended, the error.
func listen(t *testing.T, serve func(net.Listener) error) (addr string, served <-chan error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- serve(ln) }()
	return ln.Addr().String(), ended
}

// dial connects a device of a user, whose password is his name.
func (s *server) dial(user, device string, change ...func(o *mqttest.Options)) *mqttest.Client {
	s.t.Helper()
	c, err := s.tryDial(user, device, change...)
	if err != nil {
		s.t.Fatalf("connect %s/%s: %v", user, device, err)
	}
	return c
}

func (s *server) tryDial(user, device string, change ...func(o *mqttest.Options)) (*mqttest.Client, error) {
	o := mqttest.Options{Addr: s.addr, Version: s.mode.version, ClientID: device, User: user, Password: user, Clean: true}
	for _, f := range change {
		f(&o)
	}
	c, err := mqttest.Dial(s.t.Context(), o)
	if err == nil {
		s.t.Cleanup(func() { c.Close() })
	}
	return c, err
}
