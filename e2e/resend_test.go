package e2e_test

import (
	"fmt"
	"net"
	"testing"
	"time"

	"tidings/internal/mqttest"
	"tidings/internal/mqttest/server"
)

// pair are a sender, whose connections the test cuts, and what its chat holds.
type pair struct {
	w     *world
	m     mode
	alice server.Login
	bob   *client
}

func newPair(t *testing.T, w *world, m mode) *pair {
	t.Helper()
	w = w.in(t)
	ls := w.logins("alice/laptop", "bob/phone")
	return &pair{w, m, ls[0], w.online(ls[1], v5)}
}

// sender connects alice once more.
func (p *pair) sender() *client {
	p.w.t.Helper()
	return p.w.connect(p.alice, p.m)
}

// text is a PUBLISH with an identifier of the test's choice.
func (p *pair) text(id uint16, dup bool, payload string) mqttest.Publish {
	return mqttest.Publish{Topic: p.bob.me(), Payload: []byte(payload), QoS: 1, ID: id, Dup: dup}
}

// stored checks the texts of the chat's log.
func (p *pair) stored(want ...string) {
	p.w.t.Helper()
	p.bob = p.w.connect(p.bob.login, v5)
	p.bob.subscribe(p.bob.me() + "/#")
	var got []string
	for _, e := range p.bob.history(map[string]any{"chat": user(p.alice)}).Messages {
		got = append(got, e.text())
	}
	if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
		p.w.t.Errorf("stored %q, want %q", got, want)
	}
}

func TestResendIsOneMessage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, server.Config{})
	cuts := map[string]func(*pair, *client){
		"after a cut link": func(_ *pair, c *client) { c.Drop() },
		"after kill -9":    func(p *pair, _ *client) { p.w.restart() },
	}
	for name, cut := range cuts {
		inModes(t, versions, func(t *testing.T, m mode) {
			t.Run("DUP "+name, func(t *testing.T) {
				p := newPair(t, w, m)
				first := p.sender()
				a := first.sendAs(p.text(7, false, "ok"))
				cut(p, first)
				if b := p.sender().sendAs(p.text(7, true, "ok")); b != a {
					t.Errorf("the resend was answered %+v, the first send %+v", b, a)
				}
				p.stored("ok")
			})
			t.Run("cid "+name, func(t *testing.T) {
				p := newPair(t, w, m)
				first := p.sender()
				a := first.sendAs(p.text(7, false, `{"body":"ok","cid":"1"}`))
				cut(p, first)
				if b := p.sender().sendAs(p.text(9, false, `{"body":"ok","cid":"1"}`)); b != a {
					t.Errorf("the resend was answered %+v, the first send %+v", b, a)
				}
				p.stored("ok")
			})
			t.Run("QoS 2 "+name, func(t *testing.T) {
				p := newPair(t, w, m)
				p.qos2(cut)
				p.stored("ok")
			})
			t.Run("DUP of something else is new "+name, func(t *testing.T) {
				p := newPair(t, w, m)
				first := p.sender()
				first.sendAs(p.text(7, false, "ok"))
				cut(p, first)
				p.sender().sendAs(p.text(7, true, "another"))
				p.sender().sendAs(p.text(8, true, "ok"))
				p.stored("ok", "another", "ok")
			})
		})
	}
}

// qos2 sends at QoS 2, cuts the link before PUBREL and sends again.
func (p *pair) qos2(cut func(*pair, *client)) {
	t := p.w.t
	t.Helper()
	received := make(chan struct{})
	conn, err := net.Dial("tcp", p.w.MQTT())
	if err != nil {
		t.Fatal(err)
	}
	o := options(p.m)
	o.Conn = conn
	// PUBREL would follow PUBREC by itself.
	o.OnPacket = func(_ *mqttest.Client, first byte, _ []byte) {
		if first>>4 == mqttest.PUBREC {
			close(received)
			conn.Close()
		}
	}
	first := p.w.connectWith(p.alice, p.m, o)
	publish := p.text(7, false, "ok")
	publish.QoS = 2
	err = first.Publish(&publish)
	select {
	case <-received: // the end of the connection may have overtaken the end of the call
	case <-t.Context().Done():
		t.Fatal(err)
	case <-first.Done():
		select {
		case <-received:
		default:
			t.Fatal(err, first.Err())
		}
	}
	cut(p, first)
	publish.Dup = true
	p.sender().sendAs(publish)
}

func TestRepeatsAreMessagesOfTheirOwn(t *testing.T) {
	t.Parallel()
	w := sharedWorld(t)
	inModes(t, versions, func(t *testing.T, m mode) {
		t.Run("two texts", func(t *testing.T) {
			p := newPair(t, w, m)
			c := p.sender()
			c.sendAs(p.text(7, false, "ok"))
			c.sendAs(p.text(8, false, "ok"))
			c.sendAs(p.text(7, false, "ok")) // its identifier is free again
			p.stored("ok", "ok", "ok")
		})
		t.Run("the same identifier and text after DISCONNECT", func(t *testing.T) {
			p := newPair(t, w, m)
			c := p.sender()
			c.sendAs(p.text(7, false, "ok"))
			c.Disconnect()
			p.sender().sendAs(p.text(7, true, "ok"))
			p.stored("ok", "ok")
		})
		t.Run("the same identifier and text after 10 s of a living connection", func(t *testing.T) {
			t.Parallel()
			p := newPair(t, w, m)
			c := p.sender()
			c.sendAs(p.text(7, false, "ok"))
			later := time.NewTimer(10*time.Second + 500*time.Millisecond) // the rule is about this time
			defer later.Stop()
			<-later.C
			if err := c.Ping(t.Context()); err != nil {
				t.Fatal(err)
			}
			c.Drop()
			p.sender().sendAs(p.text(7, true, "ok"))
			p.stored("ok", "ok")
		})
		t.Run("without a sign of life for 10 s it is still the same", func(t *testing.T) {
			t.Parallel()
			p := newPair(t, w, m)
			c := p.sender()
			c.sendAs(p.text(7, false, "ok"))
			later := time.NewTimer(10*time.Second + 500*time.Millisecond)
			defer later.Stop()
			<-later.C
			c.Drop()
			p.sender().sendAs(p.text(7, true, "ok"))
			p.stored("ok")
		})
		t.Run("the same cid in another chat", func(t *testing.T) {
			p := newPair(t, w, m)
			c := p.sender()
			c.sendAs(p.text(7, false, `{"body":"ok","cid":"1"}`))
			c.send(c.me(), `{"body":"ok","cid":"1"}`)
			p.stored("ok")
			if h := p.bob.history(map[string]any{"chat": user(p.alice)}); h.Head != 1 {
				t.Errorf("head %d", h.Head)
			}
		})
	})
}
