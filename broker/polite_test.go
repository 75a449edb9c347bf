package broker_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"tidings/broker"
	"tidings/delivery"
	"tidings/internal/mqttest"
)

// TestLastWordsReachAClientThatStillSends: closing a socket with unread bytes
// resets the connection, which would take the DISCONNECT with it.
func TestLastWordsReachAClientThatStillSends(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		s := serve(t, m, broker.Config{}, newFakeEngine(), nil)
		for range 3 {
			c := s.raw()
			c.login(mqttest.Options{Version: m.version, ClientID: "c", User: "alice", Password: "alice", Clean: true})
			if _, err := c.Write(append([]byte{0, 0}, make([]byte, 8_000_000)...)); err != nil {
				t.Errorf("reset while sending: %v", err)
			}
			want := map[byte]string{mqttest.V311: "", mqttest.V5: "e0028200"}[m.version]
			if got := c.rest(); got != want {
				t.Errorf("answered %q, want %q", got, want)
			}
			c.Close()
		}
	})
}

func TestClientThatTakesNothingIsGivenUp(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		s := serve(t, m, broker.Config{WriteTimeout: 600 * time.Millisecond}, newFakeEngine(), nil)
		c := s.raw()
		c.login(mqttest.Options{Version: m.version, ClientID: "c", User: "alice", Password: "alice", Clean: true})
		c.send(mqttest.AppendSubscribe(nil, m.version, 1, nil, []mqttest.Subscription{{Filter: "u/alice"}}), 0)
		c.packet()
		session := s.engine.session("alice/c")
		body := strings.Repeat("x", 100_000)
		if !waitFor(func() bool { // while the socket's buffers take more it is not stuck
			if session.deliver("u/alice", body) == delivery.Delivered {
				session.o.Link.Flush()
			}
			return s.engine.session("alice/c") == nil
		}) {
			t.Error("session still open")
		}
		if closed := s.broker.Stats().Closed; closed["write_timeout"] != 1 {
			t.Errorf("closed: %v", closed)
		}
	})
}

// Shows MQTT3-7.1.1-1, MQTT5-4.2-1.
// TestTLSHandshakeHasADeadline: it counts in the time that a client has to log in.
func TestTLSHandshakeHasADeadline(t *testing.T) {
	web := httptest.NewTLSServer(nil) // for its certificate
	defer web.Close()
	b, err := broker.NewForTest(broker.Config{ConnectTimeout: 100 * time.Millisecond}, newFakeEngine(), nil)
	if err != nil {
		t.Fatal(err)
	}
	addr, served := listen(t, func(ln net.Listener) error {
		return b.ServeTCP(tls.NewListener(ln, &tls.Config{Certificates: web.TLS.Certificates}))
	})
	for _, begin := range []string{"", "\x16\x03\x01\x02\x00\x01"} { // the start of a ClientHello
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		nc.Write([]byte(begin))
		nc.SetDeadline(time.Now().Add(20 * time.Second))
		if b, err := io.ReadAll(nc); len(b) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read %x %v", b, err)
		}
		nc.Close()
	}
	if !waitFor(func() bool { return b.Stats().Closed["connect_timeout"] == 2 }) {
		t.Errorf("closed: %v", b.Stats().Closed)
	}
	if err := b.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	<-served
}

func TestTLS(t *testing.T) {
	web := httptest.NewTLSServer(nil) // for its certificate
	defer web.Close()
	b, err := broker.NewForTest(broker.Config{}, newFakeEngine(), nil)
	if err != nil {
		t.Fatal(err)
	}
	addr, served := listen(t, func(ln net.Listener) error {
		return b.ServeTCP(tls.NewListener(ln, &tls.Config{Certificates: web.TLS.Certificates}))
	})
	for _, version := range []byte{mqttest.V311, mqttest.V5} {
		nc, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		c, err := mqttest.Dial(t.Context(), mqttest.Options{Conn: nc, Version: version, ClientID: "c", User: "alice", Password: "alice", Clean: true})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Subscribe(t.Context(), "u/alice"); err != nil {
			t.Fatal(err)
		}
		big := strings.Repeat("x", 200_000)
		if _, err := c.PublishWait(t.Context(), &mqttest.Publish{Topic: "u/alice", Payload: []byte(big), QoS: 1}); err != nil {
			t.Fatal(err)
		}
		if got, err := c.Next(t.Context()); err != nil || string(got.Payload) != big {
			t.Fatalf("got %d bytes, %v", len(got.Payload), err)
		}
		c.WriteRaw([]byte{0, 0})
		if d, ok := errors.AsType[*mqttest.Disconnected](c.Err()); version == mqttest.V5 && (!ok || d.Code != 0x82) {
			t.Errorf("malformed packet: %v", c.Err())
		}
		c.Close()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := b.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	<-served
}
