package crash_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"tidings/internal/history"
	"tidings/internal/mqttest"
	"tidings/internal/mqttest/server"
)

// device is one client: it connects, sends, acks and comes back until the test is over.
//
// Its goroutine (live) owns the first group of fields; mu guards the second, which the connection's reader uses, too.
// What is recorded as done on a connection is queued to it under the same hold of mu, so that the record's order is the
// order on the wire.
type device struct {
	w       *world
	login   server.Login
	profile profile

	rng        *rand.Rand
	subscribed bool
	count      int // messages made so far
	client     *mqttest.Client

	mu       sync.Mutex
	conn     int               // number of the latest connection
	counts   bool              // what happens on it is recorded; false once its end is
	pending  []*outgoing       // unacked publishes, oldest first
	lastID   uint16            // packet identifier
	held     []incoming        // deliveries whose PUBACK is held back, of the present connection
	highest  map[string]int64  // chat topic as this user writes it → highest seq received
	acked    map[entryKey]bool // entries acked
	refusing bool              // MQTT 3.1.1: `sent` told of an error, the next PUBACK is a refusal
}

type entryKey struct {
	chat string
	seq  int64
}

// outgoing is a publish that is not acked.
type outgoing struct {
	id      uint16
	topic   string
	chat    string
	msg     string
	cid     string
	payload []byte
}

// incoming is a delivery to be acked.
type incoming struct {
	id   uint16
	chat string
	seq  int64
}

func newDevice(w *world, l server.Login, p profile, rng *rand.Rand) *device {
	return &device{
		w: w, login: l, profile: p, rng: rng, highest: make(map[string]int64), acked: make(map[entryKey]bool),
	}
}

// String names the device and its kind.
func (d *device) String() string {
	return d.login.User + "/" + d.login.Device + " " + d.profile.String()
}

// event is an event of this device on its latest connection; mu is held.
func (d *device) event(kind history.Kind) history.Event {
	return history.Event{Kind: kind, User: d.login.User, Device: d.login.Device, Conn: d.conn, Clean: d.profile.clean}
}

// begin numbers the next connection. From here on, what still comes on an older one is no longer recorded or acked.
func (d *device) begin() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.conn++
	d.counts = true
	d.held = nil
	return d.conn
}

// connect opens the next connection and subscribes where the session does not have the subscriptions yet.
func (d *device) connect(ctx context.Context) error {
	conn := d.begin()
	o := mqttest.Options{
		Addr: d.w.srv.MQTT(), Version: d.profile.version, User: d.login.User, ClientID: d.login.Device, Password: d.login.Token,
		Clean: d.profile.clean, ManualAck: true,
		OnMessage: func(c *mqttest.Client, m *mqttest.Message) { d.onMessage(c, conn, m) },
		OnAck:     func(_ *mqttest.Client, a *mqttest.Ack) { d.onAck(conn, a) },
	}
	if !d.profile.clean {
		o.SessionExpiry = math.MaxUint32
	}
	c, err := mqttest.Dial(ctx, o)
	if err != nil {
		return err
	}
	d.client = c
	d.w.rec.Add(history.Event{Kind: history.Connect, User: d.login.User, Device: d.login.Device, Conn: conn, Clean: d.profile.clean})
	if d.subscribed && !d.profile.clean && c.ConnAck().SessionPresent {
		return nil
	}
	filters := []string{"u/" + d.login.User + "/#", "g/+/#"}
	g, err := c.Subscribe(ctx, filters...)
	if err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	for i, code := range g.Codes {
		if code != 1 {
			d.w.t.Errorf("%v: SUBACK %#02x for %s", d, code, filters[i])
		}
	}
	d.subscribed = true
	return nil
}

// finish records the end of the present connection and returns it, still open; nil if there is none.
func (d *device) finish(kind history.Kind) *mqttest.Client {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.client
	if c != nil {
		d.w.rec.Add(d.event(kind))
	}
	d.client, d.counts, d.held = nil, false, nil
	return c
}

// cut ends the present connection, if any, without DISCONNECT.
func (d *device) cut() {
	if c := d.finish(history.Cut); c != nil {
		c.Drop()
	}
}

// quit ends it with DISCONNECT. That settles what was published without a cid, also
// an answer that is still on its way: a client that will send again must not say it.
func (d *device) quit() {
	d.mu.Lock()
	unsure := !d.profile.cid && len(d.pending) > 0
	d.mu.Unlock()
	if unsure {
		d.cut()
		return
	}
	if c := d.finish(history.Close); c != nil {
		c.Disconnect()
	}
}

// live is the device's goroutine.
func (d *device) live(ctx context.Context) {
	for ctx.Err() == nil {
		if d.client == nil && !d.comeBack(ctx) {
			continue
		}
		d.step(ctx)
		select {
		case <-d.client.Done():
			d.cut()
		default:
			d.mishap(ctx)
		}
	}
	d.flushHeld()
	d.quit()
}

// comeBack connects and resends; after a failure it waits a little and says false.
func (d *device) comeBack(ctx context.Context) bool {
	if err := d.connect(ctx); err != nil {
		d.cut()
		d.rest(ctx, time.Millisecond, 40*time.Millisecond)
		return false
	}
	d.resend()
	return true
}

// step does one thing of a device's day, or nothing, and rests.
func (d *device) step(ctx context.Context) {
	if d.w.load.Load() {
		switch n := d.rng.IntN(100); {
		case n < 60:
			d.sendSome(1)
		case n < 65:
			d.sendSome(8)
		case n < 75:
			d.sayRead()
		}
	}
	if d.profile.lazyAcks && (!d.w.rough.Load() || d.rng.IntN(4) == 0) {
		d.flushHeld()
	}
	d.rest(ctx, time.Millisecond, 60*time.Millisecond)
}

// mishap ends the connection now and then, while the test is rough. A burst just before a cut leaves publishes behind that
// the server has stored and the device does not know of: the hard case for a resend.
func (d *device) mishap(ctx context.Context) {
	if !d.w.rough.Load() || !d.w.load.Load() {
		return
	}
	switch n := d.rng.IntN(1000); {
	case n < 4:
		d.cut()
	case n < 12:
		d.sendSome(1 + d.rng.IntN(8))
		d.cut()
	case n < 16:
		d.quit()
	case n < 24 && d.profile.takesOver:
		d.sendSome(1)
		old := d.finish(history.Cut)
		d.comeBack(ctx)
		old.Drop()
	}
}

// rest waits between least and most, or until the connection ends.
func (d *device) rest(ctx context.Context, least, most time.Duration) {
	t := time.NewTimer(least + time.Duration(d.rng.Int64N(int64(most-least))))
	defer t.Stop()
	var gone <-chan struct{}
	if d.client != nil {
		gone = d.client.Done()
	}
	select {
	case <-t.C:
	case <-gone:
	case <-ctx.Done():
	}
}
