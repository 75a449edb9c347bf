package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tidings/api"
	"tidings/chat"
	"tidings/config"
	"tidings/internal/mqttest"
	"tidings/storage"
)

// startServer runs a server on free ports. stop ends it and returns what run
// returned.
func startServer(t *testing.T, ready func(context.Context, *server) error, change ...func(*config.Config)) (s *server, stop func() error) {
	t.Helper()
	cfg := config.Default()
	cfg.Data, cfg.MQTT, cfg.HTTP = t.TempDir(), "127.0.0.1:0", "127.0.0.1:0"
	for _, f := range change {
		f(&cfg)
	}
	s, err := newServer(&cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.run(ctx, ready) }()
	done := false
	stop = func() error {
		if done {
			return nil
		}
		done = true
		cancel()
		return <-ended
	}
	t.Cleanup(func() { stop() })
	return s, stop
}

func TestEchoAnswersOnce(t *testing.T) {
	c := &command{stdio: stdio{strings.NewReader(""), &strings.Builder{}, &strings.Builder{}}}
	s, stop := startServer(t, c.seed)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	o := &operator{parts: s.parts}
	var made api.AddedDevices
	for made.Devices == nil || made.Devices[0].Token == "" { // until alice is there
		if err := o.call(ctx, "device.add", api.AddDevices{Devices: []api.DeviceName{{User: "alice", Device: "phone"}}}, &made); err != nil {
			t.Fatal(err)
		}
	}
	alice, err := mqttest.Dial(ctx, mqttest.Options{Addr: s.mqtt.Addr().String(), User: "alice", ClientID: "phone", Password: made.Devices[0].Token, Clean: true})
	if err != nil {
		t.Fatal(err)
	}
	defer alice.Close()
	if _, err := alice.Subscribe(ctx, "u/alice"); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"one", "two"} {
		if _, err := alice.PublishWait(ctx, &mqttest.Publish{Topic: "u/echo", Payload: []byte(text), QoS: 1}); err != nil {
			t.Fatal(err)
		}
		m, err := alice.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if e, err := chat.DecodeEnvelope(m.Payload); err != nil || e.From != "echo" || string(e.Body) != `"`+text+`"` {
			t.Errorf("answer to %s: %s, %v", text, m.Payload, err)
		}
	}
	if err := stop(); err != nil {
		t.Errorf("end: %v", err)
	}
}

func TestEchoKeepsQuiet(t *testing.T) {
	b := &echoBot{user: "echo"}
	envelope := func(change func(*chat.Envelope)) []byte {
		e := chat.Envelope{ID: chat.NewMessageID(1), Chat: "u/alice", Seq: 1, From: "alice", Time: 1, Type: "text", Body: json.RawMessage(`"hi"`)}
		change(&e)
		p, err := json.Marshal(map[string]any{"id": e.ID.String(), "chat": e.Chat, "seq": e.Seq, "from": e.From, "ts": e.Time, "type": e.Type, "cid": e.CID, "body": e.Body})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if reply := b.reply(envelope(func(*chat.Envelope) {})); reply == nil || reply.Topic != "u/alice" || reply.QoS != 1 {
		t.Fatalf("a text gets %+v", reply)
	}
	for name, payload := range map[string][]byte{
		"another bot's answer": envelope(func(e *chat.Envelope) { e.CID = echoMark + "x" }),
		"its own":              envelope(func(e *chat.Envelope) { e.From = "echo" }),
		"the server's":         envelope(func(e *chat.Envelope) { e.From = "" }),
		"a reaction":           envelope(func(e *chat.Envelope) { e.Type = "reaction" }),
		"no string":            envelope(func(e *chat.Envelope) { e.Body = json.RawMessage(`{}`) }),
		"no envelope":          []byte("hi"),
	} {
		if reply := b.reply(payload); reply != nil {
			t.Errorf("%s is answered by %s", name, reply.Payload)
		}
	}
}

func TestServerEndsWhenTheStoreIsReadOnly(t *testing.T) {
	s := &server{failed: make(chan error, 1)}
	sick := fmt.Errorf("%w: a sync has failed", storage.ErrReadOnly)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	// A full disk passes by itself; a failed sync does not.
	answers := []error{nil, fmt.Errorf("%w: 0 bytes", storage.ErrFull), sick}
	s.watch(ctx, func() error {
		err := answers[0]
		if len(answers) > 1 {
			answers = answers[1:]
		}
		return err
	})
	select {
	case err := <-s.failed:
		if !errors.Is(err, storage.ErrReadOnly) {
			t.Errorf("ends with %v", err)
		}
	default:
		t.Error("the server lives on")
	}
}

func TestFailureEndsTheServerWithAnError(t *testing.T) {
	failure := errors.New("it broke")
	s, stop := startServer(t, func(context.Context, *server) error { return failure })
	client := dialControl(t.Context(), s.cfg.Data)
	for client != nil { // until the server has ended by itself
		client.close()
		client = dialControl(t.Context(), s.cfg.Data)
	}
	if err := stop(); !errors.Is(err, failure) {
		t.Errorf("ends with %v", err)
	}
}

func TestControlSocketIsTheOwnersAlone(t *testing.T) {
	s, _ := startServer(t, nil)
	info, err := os.Stat(filepath.Join(s.cfg.Data, controlName))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket has mode %v, %v", info.Mode(), err)
	}
}

func TestShutdownCancelsACallThatGoesOn(t *testing.T) {
	started, cancelled := make(chan struct{}), make(chan struct{})
	ops := api.Operators(api.Config{Compact: func(ctx context.Context) error {
		close(started)
		<-ctx.Done()
		close(cancelled)
		return ctx.Err()
	}})
	dir := t.TempDir()
	c, err := listenControl(dir, ops, func() status { return status{} })
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- c.serve() }()
	client := dialControl(t.Context(), dir)
	if client == nil {
		t.Fatal("nobody answers")
	}
	defer client.close()
	answered := make(chan error, 1)
	go func() {
		_, err := client.call(context.WithoutCancel(t.Context()), "store.compact", []byte("{}"))
		answered <- err
	}()
	<-started
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := c.close(ctx); err != nil {
		t.Errorf("close: %v", err)
	}
	<-cancelled
	if err := <-answered; err == nil {
		t.Error("the call has succeeded")
	}
	<-served
	if dialControl(t.Context(), dir) != nil {
		t.Error("somebody still answers")
	}
}

func TestLoopback(t *testing.T) {
	for addr, want := range map[string]bool{
		"127.0.0.1:1883": true, "[::1]:1883": true, "localhost:1883": true,
		":1883": false, "0.0.0.0:1883": false, "192.0.2.1:1883": false, "example.org:1883": false,
	} {
		if got := loopback(addr); got != want {
			t.Errorf("loopback(%q) = %v", addr, got)
		}
	}
}

func TestListenNamesTheSettingToChange(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, err = listen("mqtt", "MQTT", ln.Addr().String())
	if exitCode(err) != exitAddress || !strings.Contains(err.Error(), "--mqtt") {
		t.Errorf("%v, exit code %d", err, exitCode(err))
	}
}

// next returns the next message that a client gets.
func next(t *testing.T, ctx context.Context, c *mqttest.Client) *mqttest.Message {
	t.Helper()
	m, err := c.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestConformanceListener(t *testing.T) {
	dir := t.TempDir()
	plain := func(c *config.Config) {
		c.Data, c.Conformance, c.ServerReference = dir, "127.0.0.1:0", "b.example.org"
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	dial := func(s *server, o mqttest.Options) *mqttest.Client {
		o.Addr = s.plain.Addr().String()
		c, err := mqttest.Dial(ctx, o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	s, stop := startServer(t, nil, plain)
	sub := dial(s, mqttest.Options{ClientID: "Käse", SessionExpiry: 3600})
	if g, err := sub.SubscribeWith(ctx, nil, mqttest.Subscription{Filter: "#", Options: 2}); err != nil || g.Codes[0] != 2 {
		t.Fatal(g, err)
	}
	pub := dial(s, mqttest.Options{Clean: true, Will: &mqttest.Will{Topic: "last/words", Payload: []byte("bye"), QoS: 1}, KeepAlive: 60, SessionExpiry: 10})
	p := &mqttest.Publish{Topic: "sensors/1", Payload: []byte("\xff"), QoS: 2, Retain: true, Props: (&mqttest.Properties{}).AddUser("k", "v")}
	if a, err := pub.PublishWait(ctx, p); err != nil || a.Code > 0x10 {
		t.Fatal(a, err)
	}
	m := next(t, ctx, sub)
	if props, err := m.Properties(); string(m.Topic) != "sensors/1" || m.QoS != 2 || err != nil || props.UserValue("k") != "v" {
		t.Errorf("got %+v", m)
	}
	for _, topic := range []string{"u/alice", "g/team"} {
		if a, err := pub.PublishWait(ctx, &mqttest.Publish{Topic: topic, Payload: []byte("x"), QoS: 1}); err != nil || a.Code != 0x87 {
			t.Errorf("publish to %s: %v %v", topic, a, err)
		}
		if g, err := pub.Subscribe(ctx, topic); err != nil || g.Codes[0] != 0x87 {
			t.Errorf("subscribe to %s: %v %v", topic, g, err)
		}
	}
	pub.Drop()
	if m := next(t, ctx, sub); string(m.Topic) != "last/words" || string(m.Payload) != "bye" {
		t.Errorf("got %+v", m)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if d, ok := errors.AsType[*mqttest.Disconnected](sub.Err()); !ok || d.Code != 0x9c || d.Props.Strings[mqttest.PropServerReference] != "b.example.org" {
		t.Errorf("the end of the server ended the connection with %v", sub.Err())
	}
	s, _ = startServer(t, nil, plain)
	if again := dial(s, mqttest.Options{ClientID: "Käse", SessionExpiry: 3600}); !again.ConnAck().SessionPresent {
		t.Error("the session has not outlived the restart")
	}
	fresh := dial(s, mqttest.Options{ClientID: "f", Clean: true})
	if _, err := fresh.Subscribe(ctx, "sensors/+"); err != nil {
		t.Fatal(err)
	}
	if m := next(t, ctx, fresh); string(m.Payload) != "\xff" || !m.Retain {
		t.Errorf("retained: %+v", m)
	}
}
