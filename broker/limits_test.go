package broker_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"tidings/broker"
	"tidings/delivery"
	"tidings/internal/mqttest"
)

func TestUnauthenticatedConnectionsAreBounded(t *testing.T) {
	for _, cfg := range []broker.Config{{MaximumUnauthenticated: 2}, {MaximumPerAddress: 2}, {MaximumConnections: 2}} {
		for _, portable := range []bool{false, true} {
			cfg.Portable = portable
			s := serve(t, mode{version: mqttest.V5}, cfg, newFakeEngine(), nil)
			if cfg.MaximumConnections == 0 {
				s.dial("alice", "phone") // counts no more
			}
			a := s.raw()
			b := s.raw()
			if !waitFor(func() bool { return s.broker.Stats().Unauthenticated == 2 }) {
				t.Fatalf("%+v", s.broker.Stats())
			}
			c := s.raw()
			if n, err := io.Copy(io.Discard, c); n > 0 {
				t.Errorf("read %d %v", n, err)
			}
			a.Close()
			if !waitFor(func() bool { return s.broker.Stats().Unauthenticated == 1 }) {
				t.Fatalf("%+v", s.broker.Stats())
			}
			s.dial("bob", "phone")
			b.Close()
		}
	}
}

// Shows MQTT3-4.8.0-2.
func TestPanicClosesOneConnection(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		e := newFakeEngine()
		e.panic = func(p *delivery.Publish) {
			if string(p.Payload) == "panic" {
				panic("a secret of the message")
			}
		}
		log := &lockedBuffer{}
		s := serve(t, m, broker.Config{Logger: slog.New(slog.NewTextHandler(log, nil))}, e, nil)
		bob := s.dial("bob", "phone")
		alice := s.dial("alice", "phone")
		alice.Publish(&mqttest.Publish{Topic: "u/bob", Payload: []byte("panic"), QoS: 1, ID: 1})
		if d, ok := errors.AsType[*mqttest.Disconnected](alice.Err()); m.version == mqttest.V5 && (!ok || d.Code != 0x83) {
			t.Errorf("ended with %v", alice.Err())
		}
		if err := bob.Ping(t.Context()); err != nil {
			t.Error(err)
		}
		if n := s.broker.Stats().Panics; n != 1 {
			t.Errorf("%d panics", n)
		}
		if got := log.String(); strings.Count(got, "connection handler panicked") != 1 || !strings.Contains(got, "stack=") || strings.Contains(got, "secret") {
			t.Errorf("logged %s", got)
		}
		if !waitFor(func() bool { return e.session("alice/phone") == nil }) {
			t.Error("session not closed")
		}
	})
}

// lockedBuffer may be written to by several goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestShutdownTellsClientsAndClosesSessions(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		cfg := broker.Config{Linger: 50 * time.Millisecond}
		m.cfg(&cfg)
		e := newFakeEngine()
		b, err := broker.NewForTest(cfg, e, nil)
		if err != nil {
			t.Fatal(err)
		}
		addr, served := listen(t, b.ServeTCP)
		s := &server{t, m, e, b, addr}
		var clients []*mqttest.Client
		for _, name := range []string{"alice", "bob", "carol"} {
			clients = append(clients, s.dial(name, "phone"))
		}
		s.raw() // has sent nothing yet
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 10*time.Second)
		defer cancel()
		if err := b.Shutdown(ctx); err != nil {
			t.Fatal(err)
		}
		for _, c := range clients {
			if d, ok := errors.AsType[*mqttest.Disconnected](c.Err()); m.version == mqttest.V5 && (!ok || d.Code != 0x8b) {
				t.Errorf("ended with %v", c.Err())
			}
		}
		if err := <-served; !errors.Is(err, broker.ErrClosed) {
			t.Error(err)
		}
		if len(e.closed) != 3 || e.closed[0].Reason != "shutdown" {
			t.Errorf("closed %+v", e.closed)
		}
		_, again := listen(t, b.ServeTCP)
		if err := <-again; !errors.Is(err, broker.ErrClosed) {
			t.Error(err)
		}
	})
}

// flaky fails to accept a few times before it works.
type flaky struct {
	net.Listener
	failures int
}

func (l *flaky) Accept() (net.Conn, error) {
	if l.failures > 0 {
		l.failures--
		return nil, errors.New("too many open files")
	}
	return l.Listener.Accept()
}

func TestAcceptErrorsDoNotEndTheListener(t *testing.T) {
	b, err := broker.NewForTest(broker.Config{}, newFakeEngine(), nil)
	if err != nil {
		t.Fatal(err)
	}
	addr, served := listen(t, func(ln net.Listener) error { return b.ServeTCP(&flaky{ln, 3}) })
	s := &server{t, mode{version: mqttest.V5}, nil, b, addr}
	s.dial("alice", "phone").Disconnect()
	if n := b.Stats().AcceptErrors; n != 3 {
		t.Errorf("%d accept errors", n)
	}
	if err := b.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	<-served
}

func TestSlowClientGetsNoRoomAndThenMore(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		s := serve(t, m, broker.Config{OutputLimit: 10_000, WriteTimeout: 300 * time.Millisecond}, newFakeEngine(), nil)
		c := s.raw()
		c.login(mqttest.Options{Version: m.version, ClientID: "c", User: "alice", Password: "alice", Clean: true})
		c.send(mqttest.AppendSubscribe(nil, m.version, 1, nil, []mqttest.Subscription{{Filter: "u/alice"}}), 0)
		c.packet()
		session := s.engine.session("alice/c")
		body := strings.Repeat("x", 4000)
		sent := 0
		for { // until the socket's buffers are full, too
			r := session.deliver("u/alice", body)
			session.o.Link.Flush()
			if r == delivery.NoRoom {
				break
			}
			if r != delivery.Delivered {
				t.Fatal(r)
			}
			sent++
		}
		for range sent {
			if _, got := c.packet(); len(got) < 4000 {
				t.Fatalf("packet of %d bytes", len(got))
			}
		}
		if !waitFor(func() bool {
			session.mu.Lock()
			defer session.mu.Unlock()
			return session.writable > 0
		}) {
			t.Error("Writable was not called")
		}
		<-time.After(400 * time.Millisecond) // beyond the deadlines of the writes so far
		if r := session.deliver("u/alice", body); r != delivery.Delivered {
			t.Error(r)
		}
		session.o.Link.Flush()
		if _, got := c.packet(); len(got) < 4000 {
			t.Errorf("packet of %d bytes", len(got))
		}
	})
}

func TestClientThatReadsNothingIsNotReadFrom(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		s := serve(t, m, broker.Config{OutputLimit: 4096, MaximumPacketSize: 4096}, newFakeEngine(), nil)
		c := s.raw()
		c.login(mqttest.Options{Version: m.version, ClientID: "c", User: "alice", Password: "alice", Clean: true})
		pings := bytes.Repeat([]byte{0xc0, 0}, 16<<10)
		const most = 64 << 20 // far more than the socket's buffers
		sent := 0
		c.SetWriteDeadline(time.Now().Add(2 * time.Second))
		for sent < most {
			n, err := c.Write(pings)
			if sent += n; err != nil {
				break
			}
		}
		if sent >= most {
			t.Fatalf("the server took %d bytes of a client that reads nothing", sent)
		}
		c.SetWriteDeadline(time.Now().Add(10 * time.Second))
		if sent%2 == 1 {
			sent++
			go c.Write([]byte{0})
		}
		if n, err := io.CopyN(io.Discard, c, int64(sent)); err != nil { // an answer to each
			t.Errorf("read %d bytes of %d: %v", n, sent, err)
		}
		c.send([]byte{0xc0, 0}, 0)
		if first, _ := c.packet(); first != 0xd0 {
			t.Errorf("answered with %#x", first)
		}
	})
}

// Shows MQTT5-3.1.2-24.
func TestDeliveryOverTheClientsMaximumPacketSize(t *testing.T) {
	s := serve(t, mode{version: mqttest.V5}, broker.Config{}, newFakeEngine(), nil)
	c := s.dial("alice", "phone", func(o *mqttest.Options) { o.MaxPacketSize = 100 })
	if _, err := c.Subscribe(t.Context(), "u/alice"); err != nil {
		t.Fatal(err)
	}
	session := s.engine.session("alice/phone")
	room := 100 - (1 + 1 + 2 + 7 + 1 + 3 + 7) // header, topic, properties with the response topic
	for _, k := range []struct {
		n    int
		want delivery.DeliverResult
	}{{room, delivery.Delivered}, {room - 1, delivery.Delivered}, {room + 1, delivery.TooLarge}} {
		session.mu.Lock()
		got := session.o.Link.Deliver(&delivery.Delivery{Topic: []byte("u/alice"), ReplyTo: []byte("u/alice"), Payload: make([]byte, k.n)})
		session.mu.Unlock()
		if got != k.want {
			t.Errorf("%d bytes: %v, want %v", k.n, got, k.want)
		}
	}
}
