package hotpath_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"tidings/broker"
	"tidings/chat"
	"tidings/delivery"
	"tidings/hooks"
	"tidings/internal/mqttest"
	"tidings/storage/pebble"
	"tidings/topics"
)

var text = []byte(strings.Repeat("the quick brown fox ", 13)[:256])

func parseDrafts(n int) {
	for range n {
		if _, err := chat.ParseDraft(text, chat.DraftOptions{}); err != nil {
			panic(err)
		}
	}
}

func appendEnvelopes(t *testing.T) func(int) {
	body, err := chat.AppendTextBody(nil, text)
	if err != nil {
		t.Fatal(err)
	}
	m := chat.Message{Seq: 41, Time: 1732430000000, Type: "text", Body: body}
	buf := make([]byte, 0, 1024)
	return func(n int) {
		for range n {
			buf = chat.AppendEnvelope(buf[:0], &m, chat.View{Chat: "u/alice", From: "alice", Device: "laptop"})
		}
	}
}

func parseTopics(n int) {
	names := [][]byte{[]byte("u/alice"), []byte("g/home"), []byte("u/bob/receipts"), []byte("rpc/history")}
	for i := range n {
		kept += uint64(topics.Parse(names[i%4]).Kind)
	}
}

// engine is the delivery engine over the durable store, with a sender and a receiver whose links cost next to nothing.
type engine struct {
	turn     *delivery.Turn
	sender   *link
	arrived  sync.WaitGroup
	answered sync.WaitGroup
}

// link acknowledges what it is given in a goroutine of its own, as a carrier's reader would.
type link struct {
	e    *engine
	s    *delivery.Session
	tags chan uint16
}

func (l *link) Deliver(d *delivery.Delivery) delivery.DeliverResult {
	if d.Ordinary {
		l.tags <- d.Tag
	}
	return delivery.Delivered
}
func (l *link) Release(uint16) delivery.DeliverResult { return delivery.Delivered }
func (l *link) Complete(uint16, bool)                 {}
func (l *link) Answer(*delivery.Answer)               { l.e.answered.Done() }
func (l *link) Flush()                                {}
func (l *link) Close(delivery.Reason)                 {}

// anybody lets everybody in as the user that he names.
type anybody struct{ ids map[string]chat.UserID }

func (a anybody) Authenticate(_ context.Context, l *hooks.Login) (hooks.Grant, error) {
	return hooks.Grant{User: a.ids[l.User], Device: l.Client, ByWord: true}, nil
}

// newDelivery starts an engine that knows alice and bob.
func newDelivery(t *testing.T) *delivery.Engine {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	store, err := pebble.Open(t.TempDir(), pebble.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Errorf("close the store: %v", err)
		}
	})
	users := []chat.User{{Name: "alice", Created: time.Now()}, {Name: "bob", Created: time.Now()}}
	ids, err := store.AddUsers(t.Context(), users)
	if err != nil {
		t.Fatal(err)
	}
	plugins, err := hooks.NewSet(log, anybody{map[string]chat.UserID{"alice": ids[0], "bob": ids[1]}})
	if err != nil {
		t.Fatal(err)
	}
	e, err := delivery.New(delivery.Config{Store: store, Plugins: plugins, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	e.Start()
	t.Cleanup(func() {
		if err := e.Shutdown(longContext()); err != nil {
			t.Errorf("shutdown: %v", err)
		}
	})
	return e
}

func newEngine(t *testing.T) *engine {
	d := newDelivery(t)
	e := &engine{turn: d.NewTurn()}
	e.sender = e.open(t, d, "alice")
	e.open(t, d, "bob")
	return e
}

func (e *engine) open(t *testing.T, d *delivery.Engine, user string) *link {
	t.Helper()
	l := &link{e: e, tags: make(chan uint16, 4096)}
	id, err := d.Login(t.Context(), &hooks.Login{User: user, Client: user + "-phone"})
	if err != nil {
		t.Fatal(err)
	}
	if l.s, _, err = d.Open(t.Context(), id, delivery.OpenOptions{Link: l}); err != nil {
		t.Fatal(err)
	}
	l.s.Start()
	if _, err := l.s.Subscribe(t.Context(), []delivery.Subscription{{Filter: "u/" + user, QoS: 1}}); err != nil {
		t.Fatal(err)
	}
	l.s.Feed()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for tag := range l.tags {
			l.s.Ack(tag, false)
			e.arrived.Done()
		}
	}()
	t.Cleanup(func() {
		l.s.Close(longContext(), delivery.CloseHow{})
		close(l.tags)
		<-done
	})
	return l
}

// message sends n messages from alice to bob, a batch at a time, and waits until bob has acknowledged them.
func (e *engine) message(n int) {
	p := delivery.Publish{Topic: []byte("u/bob"), Payload: text, QoS: 1}
	const batch = 64
	for sent := 0; sent < n; sent += batch {
		e.arrived.Add(batch)
		e.answered.Add(batch)
		for i := range batch {
			p.PacketID = uint16(i + 1)
			e.turn.Publish(e.sender.s, &p)
		}
		e.turn.Commit()
		e.answered.Wait()
		e.arrived.Wait()
	}
}

// frames is a connection to the carrier over memory, which publishes to a topic that is nobody's: each PUBLISH is read,
// judged and answered, and nothing else happens.
type frames struct {
	conn  net.Conn
	batch []byte
	acks  []byte
}

const framesPerWrite = 100

func newFrames(t *testing.T) *frames {
	s, err := broker.New(broker.Config{}, newDelivery(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	ln := newListener()
	served := make(chan error, 1)
	go func() { served <- s.ServeTCP(ln) }()
	t.Cleanup(func() {
		if err := s.Shutdown(longContext()); err != nil {
			t.Errorf("shutdown of the carrier: %v", err)
		}
		<-served
	})
	f := &frames{conn: ln.dial(), acks: make([]byte, 4*framesPerWrite)}
	t.Cleanup(func() { f.conn.Close() })
	connect := mqttest.AppendConnect(nil, &mqttest.Options{Version: mqttest.V311, ClientID: "alice-web", User: "alice", Clean: true})
	if _, err := f.conn.Write(connect); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(f.conn, f.acks[:4]); err != nil || f.acks[3] != 0 {
		t.Fatalf("CONNACK %x: %v", f.acks[:4], err)
	}
	for i := range framesPerWrite {
		f.batch = mqttest.AppendPublish(f.batch, mqttest.V311, &mqttest.Publish{Topic: "x/nobody", Payload: text, QoS: 1, ID: uint16(i + 1)})
	}
	return f
}

// publish sends n publishes, rounded up to whole writes, and reads their answers.
func (f *frames) publish(n int) {
	for sent := 0; sent < n; sent += framesPerWrite {
		if _, err := f.conn.Write(f.batch); err != nil {
			panic(err)
		}
		if _, err := io.ReadFull(f.conn, f.acks); err != nil {
			panic(err)
		}
	}
}
