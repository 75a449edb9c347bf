package mqttest_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"tidings/internal/mqttest"
)

// script is the server's side of a connection: what it expects to read and what it answers, byte for byte.
type script struct {
	t    *testing.T
	conn net.Conn
}

// dial connects a client to a scripted server that has accepted the CONNECT with the given CONNACK.
func dial(t *testing.T, o mqttest.Options, connack string) (*mqttest.Client, *script) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	got := make(chan net.Conn, 1)
	go func() {
		conn, err := ln.Accept()
		if err == nil {
			want := mqttest.AppendConnect(nil, &o)
			io.ReadFull(conn, want)
			io.WriteString(conn, connack)
		}
		got <- conn
	}()
	ctx := t.Context()
	dialed := o
	dialed.Addr = ln.Addr().String()
	c, err := mqttest.Dial(ctx, dialed)
	conn := <-got
	if conn == nil {
		t.Fatal("nothing accepted")
	}
	t.Cleanup(func() { conn.Close() })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	return c, &script{t, conn}
}

func (s *script) expect(want string) {
	s.t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(s.conn, got); err != nil {
		s.t.Fatalf("read: %v", err)
	}
	if string(got) != want {
		s.t.Fatalf("got  %x\nwant %x", got, want)
	}
}

func (s *script) send(b string) {
	s.t.Helper()
	if _, err := io.WriteString(s.conn, b); err != nil {
		s.t.Fatal(err)
	}
}

const accepted = "\x20\x03\x00\x00\x00"

func TestManualAcksLeaveInTheOrderAsked(t *testing.T) {
	c, s := dial(t, mqttest.Options{ClientID: "c", ManualAck: true}, accepted)
	s.send("\x32\x06\x00\x01t\x00\x01\x00\x32\x06\x00\x01t\x00\x02\x00")
	for i := range 2 {
		m, err := c.Next(t.Context())
		if err != nil || int(m.ID) != i+1 {
			t.Fatalf("delivery %d: %+v, %v", i, m, err)
		}
	}
	c.Ack(2, 0)
	c.Ack(1, 0x97)
	s.expect("\x40\x02\x00\x02\x40\x03\x00\x01\x97")
}

func TestAcksOfOneReadLeaveInOneWrite(t *testing.T) {
	_, s := dial(t, mqttest.Options{ClientID: "c"}, accepted)
	s.send("\x32\x06\x00\x01t\x00\x01\x00\x32\x06\x00\x01t\x00\x02\x00")
	s.expect("\x40\x02\x00\x01\x40\x02\x00\x02")
}

func TestResendWithChosenIdentifier(t *testing.T) {
	c, s := dial(t, mqttest.Options{ClientID: "c", Version: mqttest.V311}, "\x20\x02\x01\x00")
	if !c.ConnAck().SessionPresent {
		t.Error("session present is lost")
	}
	c.Publish(&mqttest.Publish{Topic: "t", Payload: []byte("x"), QoS: 1, ID: 77, Dup: true})
	s.expect("\x3a\x06\x00\x01t\x00\x4dx")
}

func TestPublishWaitGetsItsAck(t *testing.T) {
	c, s := dial(t, mqttest.Options{ClientID: "c"}, accepted)
	type answer struct {
		ack *mqttest.Ack
		err error
	}
	done := make(chan answer, 1)
	go func() {
		a, err := c.PublishWait(t.Context(), &mqttest.Publish{Topic: "t", QoS: 1})
		done <- answer{a, err}
	}()
	s.expect("\x32\x06\x00\x01t\x00\x01\x00")
	s.send("\x40\x0f\x00\x01\x00\x0b\x26\x00\x03seq\x00\x0341")
	s.send("2")
	got := <-done
	if got.err != nil {
		t.Fatal(got.err)
	}
	p, err := got.ack.Properties()
	if err != nil || p.UserValue("seq") != "412" {
		t.Errorf("seq = %q, %v", p.UserValue("seq"), err)
	}
}

func TestSubscribeAndItsEarlyDelivery(t *testing.T) {
	c, s := dial(t, mqttest.Options{ClientID: "c"}, accepted)
	go func() {
		s.expect("\x82\x09\xff\xff\x00\x00\x03a/#\x01")
		s.send("\x30\x05\x00\x01t\x00x\x90\x04\xff\xff\x00\x87")
	}()
	g, err := c.Subscribe(t.Context(), "a/#")
	if err != nil || !bytes.Equal(g.Codes, []byte{0x87}) {
		t.Fatalf("granted %+v, %v", g, err)
	}
	if m, err := c.Next(t.Context()); err != nil || string(m.Payload) != "x" {
		t.Errorf("delivery %+v, %v", m, err)
	}
}

func TestEndsOfAConnection(t *testing.T) {
	t.Run("by the server's DISCONNECT", func(t *testing.T) {
		c, s := dial(t, mqttest.Options{ClientID: "c"}, accepted)
		s.send("\xe0\x02\x8e\x00")
		var d *mqttest.Disconnected
		if !errors.As(c.Err(), &d) || d.Code != 0x8e {
			t.Errorf("cause %v", c.Err())
		}
	})
	t.Run("by Drop, without a byte", func(t *testing.T) {
		c, s := dial(t, mqttest.Options{ClientID: "c"}, accepted)
		c.Drop()
		if rest, err := io.ReadAll(s.conn); err != nil || len(rest) != 0 {
			t.Errorf("server read %x, %v", rest, err)
		}
		if _, err := c.Next(t.Context()); !errors.Is(err, mqttest.ErrClosed) {
			t.Errorf("Next: %v", err)
		}
	})
	t.Run("by DISCONNECT, behind what is queued", func(t *testing.T) {
		c, s := dial(t, mqttest.Options{ClientID: "c"}, accepted)
		c.Queue(&mqttest.Publish{Topic: "t"})
		go c.Disconnect()
		s.expect("\x30\x04\x00\x01t\x00\xe0\x00")
	})
	t.Run("while a request waits", func(t *testing.T) {
		c, s := dial(t, mqttest.Options{ClientID: "c"}, accepted)
		go func() {
			s.expect("\xc0\x00")
			s.conn.Close()
		}()
		if err := c.Ping(t.Context()); err == nil {
			t.Error("Ping succeeded without an answer")
		}
	})
}

func TestRefusedConnect(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		io.WriteString(conn, "\x20\x03\x00\x87\x00")
		io.Copy(io.Discard, conn)
	}()
	_, err = mqttest.Dial(t.Context(), mqttest.Options{Addr: ln.Addr().String(), ClientID: "c"})
	var r *mqttest.Refused
	if !errors.As(err, &r) || r.ConnAck.Code != 0x87 {
		t.Errorf("error %v", err)
	}
}

func TestDialGivesUpOnASilentServer(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	ctx, cancel := context.WithCancel(t.Context())
	o := mqttest.Options{Conn: near, ClientID: "c"}
	go func() {
		io.ReadFull(far, mqttest.AppendConnect(nil, &o))
		cancel()
	}()
	if _, err := mqttest.Dial(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// TestHotPathAllocatesNothing keeps the load generator's own cost out of what it measures.
func TestHotPathAllocatesNothing(t *testing.T) {
	acks := make(chan struct{}, 1)
	c, s := dial(t, mqttest.Options{
		ClientID: "c", Version: mqttest.V311,
		OnAck: func(*mqttest.Client, *mqttest.Ack) { acks <- struct{}{} },
	}, "\x20\x02\x00\x00")
	payload := make([]byte, 200)
	in := make([]byte, len(mqttest.AppendPublish(nil, mqttest.V311, &mqttest.Publish{Topic: "u/bob", Payload: payload, QoS: 1, ID: 1})))
	answer := []byte("\x40\x02\x00\x01")
	n := testing.AllocsPerRun(200, func() {
		p := mqttest.Publish{Topic: "u/bob", Payload: payload, QoS: 1, ID: 1}
		c.Publish(&p)
		io.ReadFull(s.conn, in)
		s.conn.Write(answer)
		<-acks
	})
	if n > 1 {
		t.Errorf("%v allocations a publish and ack", n)
	}
}
