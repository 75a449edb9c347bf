package scenario

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"tidings/bench/target"
	"tidings/internal/mqttest"
)

// dialers is how many connects are under way at once.
const dialers = 64

// fleet is all members of a run.
type fleet struct {
	counters
	b       *bench
	members []*member
}

// newFleet makes logins called prefix00000 … and members that are not connected yet.
func (b *bench) newFleet(ctx context.Context, prefix string, n int) (*fleet, error) {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("%s%05d", prefix, i)
	}
	start := time.Now()
	logins, err := b.target.Logins(ctx, names)
	if err != nil {
		return nil, err
	}
	b.note("%d logins in %v", n, time.Since(start).Round(time.Millisecond))
	return b.fleetOf(logins), nil
}

// fleetOf makes members of logins.
func (b *bench) fleetOf(logins []target.Login) *fleet {
	f := &fleet{b: b, members: make([]*member, len(logins))}
	f.reset()
	for i, l := range logins {
		f.members[i] = &member{
			counters: &f.counters, all: f.members, login: l, index: uint32(i), fanOut: 1,
			body: newBody(b.cfg.Size), got: make(map[uint32]*arrivals),
		}
	}
	return f
}

// connect opens the member's persistent session and subscribes its filters, if any.
func (m *member) connect(ctx context.Context, b *bench, filters ...string) error {
	o := mqttest.Options{
		Addr: b.target.Addr(), Version: b.cfg.Version, ClientID: m.login.Device, User: m.login.User, Password: m.login.Password,
		SessionExpiry: math.MaxUint32, OnMessage: m.onMessage, OnAck: m.onAck, ConnectTimeout: time.Minute,
	}
	c, err := b.dialAdmitted(ctx, o)
	if err != nil {
		return err
	}
	m.client = c
	if len(filters) == 0 {
		return nil
	}
	g, err := c.Subscribe(ctx, filters...)
	if err != nil {
		return err
	}
	for i, code := range g.Codes {
		if code >= 0x80 {
			return fmt.Errorf("subscription %s refused with %#02x", filters[i], code)
		}
	}
	return nil
}

// dialAdmitted connects, and waits and tries again where the server says that too many log in at once.
func (b *bench) dialAdmitted(ctx context.Context, o mqttest.Options) (*mqttest.Client, error) {
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, 200*time.Millisecond) {
		if b.cfg.Web {
			var err error
			if o.Conn, err = b.dialWeb(ctx); err != nil {
				return nil, err
			}
		}
		c, err := mqttest.Dial(ctx, o)
		var refused *mqttest.Refused
		if !errors.As(err, &refused) || (refused.ConnAck.Code != 0x9f && refused.ConnAck.Code != 3) {
			return c, err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// dialWeb opens a WebSocket.
func (b *bench) dialWeb(ctx context.Context) (net.Conn, error) {
	t, ok := b.target.(target.Web)
	if !ok {
		return nil, fmt.Errorf("no WebSocket: %w", errors.ErrUnsupported)
	}
	ws, resp, err := websocket.Dial(ctx, t.WebAddr(), &websocket.DialOptions{Subprotocols: []string{"mqtt"}})
	if err != nil {
		return nil, err
	}
	if resp.Body != nil {
		resp.Body.Close()
	}
	return websocket.NetConn(context.Background(), ws, websocket.MessageBinary), nil
}

// each runs fn for all members, dialers at a time, and returns the first error.
func each(members []*member, fn func(*member) error) error {
	var next atomic.Int64
	errs := make(chan error, dialers)
	var wg sync.WaitGroup
	for range dialers {
		wg.Go(func() {
			for {
				i := next.Add(1) - 1
				if i >= int64(len(members)) {
					return
				}
				if err := fn(members[i]); err != nil {
					next.Store(int64(len(members)))
					errs <- fmt.Errorf("%s: %w", members[i].login.Device, err)
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	return <-errs
}

// connectAll connects members with the filters of their own messages.
func (f *fleet) connectAll(ctx context.Context, members []*member, more ...string) error {
	return each(members, func(m *member) error {
		own := "u/" + m.login.User
		if f.b.cfg.AllOwn {
			own += "/#"
		}
		return m.connect(ctx, f.b, append([]string{own}, more...)...)
	})
}

// disconnectAll ends the connections of members that have one, with DISCONNECT.
func (f *fleet) disconnectAll(members []*member) {
	_ = each(members, func(m *member) error { // Disconnect cannot fail
		if m.client != nil {
			m.client.Disconnect()
			m.client = nil
		}
		return nil
	})
}

// alive fails when a connection of members has ended.
func alive(members []*member) error {
	for _, m := range members {
		if m.client == nil {
			continue
		}
		select {
		case <-m.client.Done():
			return fmt.Errorf("%s lost its connection: %w", m.login.Device, m.client.Err())
		default:
		}
	}
	return nil
}

// stall is how long a phase may stand still before it is given up.
const stall = 20 * time.Second

// await waits until done says so. It fails when a connection ends, or when progress has not moved for the stall time.
func (f *fleet) await(ctx context.Context, what string, progress func() int64, done func() bool) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	last, moved := progress(), time.Now()
	for n := 0; !done(); n++ {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if n%250 == 0 {
			if err := alive(f.members); err != nil {
				return err
			}
		}
		if p := progress(); p != last {
			last, moved = p, time.Now()
		} else if time.Since(moved) > stall {
			return fmt.Errorf("%s: stands at %d for %v (sent %d, acked %d, arrived %d)",
				what, last, stall, f.sent.Load(), f.acked.Load(), f.arrived.Load())
		}
	}
	return nil
}

// settle stops the closed loop and waits for every ack, and for every delivery where receivers are online.
func (f *fleet) settle(ctx context.Context, fanOut int64) error {
	f.closed.Store(false)
	progress := func() int64 { return f.acked.Load() + f.arrived.Load() }
	return f.await(ctx, "settle", progress, func() bool {
		sent := f.sent.Load()
		return f.acked.Load() == sent && f.arrived.Load() >= (sent-f.refused.Load())*fanOut
	})
}

// addFaults adds the figures that must be 0.
func (f *fleet) addFaults(fanOut int64) {
	f.b.add("lost", "", float64((f.sent.Load()-f.refused.Load())*fanOut-f.arrived.Load()))
	f.b.add("doubled", "", float64(f.doubled.Load()))
	f.b.add("reordered", "", float64(f.late.Load()))
	f.b.add("refused", "", float64(f.refused.Load()))
}
