package broker_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"tidings/broker"
	"tidings/internal/mqttest"
)

// Shows MQTT5-3.14.2-1.
func TestShutdownSendsClientsToAnotherServer(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		cfg := broker.Config{Linger: 5 * time.Second, ServerReference: "b.example.org c.example.org:1884"}
		m.cfg(&cfg)
		b, err := broker.NewForTest(cfg, newFakeEngine(), nil)
		if err != nil {
			t.Fatal(err)
		}
		addr, served := listen(t, b.ServeTCP)
		s := &server{t, m, nil, b, addr}
		told := s.dial("alice", "phone")
		narrow := s.dial("alice", "tablet", func(o *mqttest.Options) { o.MaxPacketSize = 30 })
		stays := s.raw() // does not close, and so keeps the server from going on
		stays.login(mqttest.Options{Version: m.version, ClientID: "c", User: "carol", Password: "carol", Clean: true})
		early := s.raw() // has sent nothing yet
		if !waitFor(func() bool { return b.Stats().Connections == 4 }) {
			t.Fatal("not all are connected")
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 10*time.Second)
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- b.Shutdown(ctx) }()
		for _, k := range []struct {
			c    *mqttest.Client
			code byte
			ref  string
		}{{told, 0x9c, cfg.ServerReference}, {narrow, 0x8b, ""}} {
			d, ok := errors.AsType[*mqttest.Disconnected](k.c.Err())
			if m.version == mqttest.V5 && (!ok || d.Code != k.code || d.Props.Strings[mqttest.PropServerReference] != k.ref || len(d.Props.Numbers) > 0) {
				t.Errorf("ended with %v", k.c.Err())
			}
		}
		o := mqttest.Options{Version: m.version, ClientID: "d", User: "alice", Password: "alice", Clean: true}
		hello := mqttest.AppendConnect(nil, &o)
		for name, c := range map[string]*rawConn{"before": early, "meanwhile": s.raw()} {
			c.send(hello, 0)
			first, body := c.packet()
			c.Close()
			if m.version == mqttest.V311 {
				if first != 0x20 || body[1] != 3 {
					t.Errorf("who has connected %s gets %#x %x", name, first, body)
				}
				continue
			}
			if want := "\x00\x9c\x23\x1c\x00\x20" + cfg.ServerReference; first != 0x20 || string(body) != want {
				t.Errorf("who has connected %s gets %#x %q", name, first, body)
			}
		}
		stays.Close()
		if err := <-done; err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-served; !errors.Is(err, broker.ErrClosed) {
			t.Error(err)
		}
		if err := b.Shutdown(ctx); !errors.Is(err, broker.ErrClosed) {
			t.Errorf("second shutdown: %v", err)
		}
	})
}
