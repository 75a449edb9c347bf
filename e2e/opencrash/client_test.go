package opencrash_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"tidings/internal/mqttest"
)

// client is one persistent session that connects, does its work and comes back until the test is over. It belongs to the
// goroutine that runs live, and before that to the test's.
type client struct {
	w    *world
	name string
	addr func() string
	opts mqttest.Options
	rng  *rand.Rand
	role role
	away bool // it is absent most of the time

	waiting  int64 // messages that the flooding publisher saw acknowledged before the connection began
	conns    int
	link     *link
	ack      *mqttest.ConnAck
	lastLeft time.Time
	absent   time.Duration
}

// role is what a client does on its connection. All its methods run on the client's goroutine while there is a link.
type role interface {
	begin() // the connection is new, the session is not
	packet(k mqttest.Packet)
	step(burst bool)
	rest() // the test is over: what is held back is sent
}

// event is one thing that a client did or saw.
type event struct {
	At   int64  `json:"us"` // since the beginning
	Who  string `json:"who"`
	Conn int    `json:"conn,omitempty"`
	What string `json:"what"`
	Of   string `json:"of,omitempty"` // publisher
	N    int    `json:"n,omitempty"`
	ID   uint16 `json:"id,omitempty"`
	Text string `json:"text,omitempty"`
	QoS  byte   `json:"qos,omitempty"`
	Dup  bool   `json:"dup,omitempty"`
	Code byte   `json:"code,omitempty"`
}

func (c *client) note(e event) {
	e.Who, e.Conn = c.name, c.conns
	c.w.rec.add(e)
}

// wrong reports a broken promise.
func (c *client) wrong(what string, e event) {
	e.Text += " WRONG: " + what
	c.note(e)
	c.w.wrong("%s (connection %d): %s: %s of %s %d, identifier %d, QoS %d, DUP %v, code %#02x %s",
		c.name, c.conns, what, e.What, e.Of, e.N, e.ID, e.QoS, e.Dup, e.Code, e.Text)
}

// connect opens the next connection; the link in use until then, if any, stays as it is.
func (c *client) connect(ctx context.Context) error {
	o := c.opts
	o.SessionExpiry = math.MaxUint32
	waiting := c.w.flood.accepted.Load()
	l, ack, err := dial(ctx, c.addr(), &o)
	if err != nil {
		if r := new(refused); errors.As(err, &r) && !slices.Contains([]byte{3, 0x88, 0x89, 0x97}, r.code) {
			c.wrong("refused", event{What: "CONNACK", Code: r.code})
		}
		return err
	}
	c.conns++
	c.link, c.ack, c.waiting = l, ack, waiting
	c.note(event{What: "CONNACK"})
	if c.conns > 1 && !ack.SessionPresent {
		c.wrong("the session is gone", event{What: "CONNACK"})
	}
	c.role.begin()
	l.flush()
	return nil
}

// leave ends the present connection.
func (c *client) leave(how string) {
	c.note(event{What: how})
	l := c.link
	c.link = nil
	if how == "DISCONNECT" {
		l.out = mqttest.AppendDisconnect(l.out, c.opts.Version, 0, nil)
		l.flush()
	}
	l.close(how == "reset")
}

// takeOver connects again while the old connection is open. From here on nothing is read from that one.
func (c *client) takeOver(ctx context.Context) {
	old := c.link
	c.note(event{What: "takeover"})
	if c.connect(ctx) != nil {
		c.link = nil
	}
	old.close(false)
}

// live is the client's goroutine.
func (c *client) live(ctx context.Context) {
	for ctx.Err() == nil {
		if c.link == nil {
			if c.stayAway() || c.connect(ctx) != nil {
				c.pause(ctx, nil)
			}
			continue
		}
		c.pause(ctx, c.link.packets)
	}
	if c.link != nil {
		c.role.rest()
		c.leave("DISCONNECT")
	}
}

// pause waits for a moment and handles what comes meanwhile; then the client does one step of its day.
func (c *client) pause(ctx context.Context, packets chan mqttest.Packet) {
	t := time.NewTimer(time.Duration(1+c.rng.IntN(20)) * time.Millisecond)
	defer t.Stop()
	for {
		select {
		case k, ok := <-packets:
			if !ok {
				c.leave("lost")
				return
			}
			c.take(k)
			if len(packets) == 0 {
				c.link.flush()
			}
		case <-t.C:
			if c.link != nil {
				c.role.step(false)
				c.link.flush()
				c.mishap(ctx)
			}
			return
		case <-ctx.Done():
			return
		}
	}
}

func (c *client) take(k mqttest.Packet) {
	if k.Type() == mqttest.DISCONNECT {
		code := byte(0)
		if d, err := k.Disconnect(c.opts.Version); err == nil {
			code = d.Code
		}
		c.wrong("the server ends the connection", event{What: "DISCONNECT", Code: code})
		return
	}
	c.role.packet(k)
}

// mishap ends the connection now and then while the test is rough.
func (c *client) mishap(ctx context.Context) {
	if !c.w.rough.Load() {
		return
	}
	if c.away && c.rng.IntN(30) == 0 {
		c.lastLeft, c.absent = time.Now(), time.Duration(500+c.rng.IntN(2500))*time.Millisecond
		c.leave([]string{"DISCONNECT", "cut"}[c.rng.IntN(2)])
		return
	}
	switch n := c.rng.IntN(1000); {
	case n < 2:
		c.leave("cut")
	case n < 4: // a burst just before leaves behind what the server has and the client does not know of
		c.role.step(true)
		c.link.flush()
		c.leave([]string{"cut", "reset"}[c.rng.IntN(2)])
	case n < 5:
		c.leave("DISCONNECT")
	case n < 8:
		c.role.step(true)
		c.link.flush()
		c.takeOver(ctx)
	}
}

func (c *client) stayAway() bool {
	return c.w.rough.Load() && time.Since(c.lastLeft) < c.absent
}

// send queues an acknowledgement.
func (c *client) send(kind byte, id uint16) {
	c.link.out = mqttest.AppendAck(c.link.out, c.opts.Version, kind, id, 0)
}
