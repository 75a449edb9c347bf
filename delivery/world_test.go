package delivery_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"tidings/chat"
	"tidings/delivery"
	"tidings/hooks"
	"tidings/storage"
	"tidings/storage/storagetest"
)

// world is an engine over a store, with devices that connect by fake links. Its
// authenticator believes everybody.
type world struct {
	t     testing.TB
	store storage.Store
	gate  *gate // between the store and the present engine
	e     *delivery.Engine
	cfg   delivery.Config
	ids   map[string]chat.UserID

	dead    sync.WaitGroup // crashed engines
	plugins []any          // besides the authenticator, from the next start on
}

func newWorld(t testing.TB, users ...string) *world {
	return newWorldWith(t, delivery.Config{CursorFlush: 5 * time.Millisecond}, users...)
}

func newWorldWith(t testing.TB, cfg delivery.Config, users ...string) *world {
	t.Helper()
	w := &world{t: t, store: cfg.Store, cfg: cfg, ids: make(map[string]chat.UserID)}
	if w.store == nil {
		w.store = storagetest.NewModel()
	}
	w.start()
	t.Cleanup(w.stop)
	for _, u := range users {
		w.addUser(u)
	}
	return w
}

func (w *world) addUser(name string) {
	w.t.Helper()
	ids, err := w.store.AddUsers(w.t.Context(), []chat.User{{Name: name, Created: time.Now()}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.ids[name] = ids[0]
}

func (w *world) start() {
	w.t.Helper()
	set, err := hooks.NewSet(slog.New(slog.NewTextHandler(w.t.Output(), nil)), append([]any{believer{w}}, w.plugins...)...)
	if err != nil {
		w.t.Fatal(err)
	}
	cfg := w.cfg
	w.gate = newGate(w.store)
	cfg.Store, cfg.Plugins = w.gate, set
	cfg.Log = slog.New(slog.NewTextHandler(w.t.Output(), nil))
	if w.e, err = delivery.New(cfg); err != nil {
		w.t.Fatal(err)
	}
	w.e.Start()
}

func (w *world) stop() {
	w.dead.Wait()
	if w.e == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := w.e.Shutdown(ctx); err != nil {
		w.t.Errorf("shutdown: %v", err)
	}
	w.e = nil
}

// restart stops the engine in order and starts a new one over the same store.
// Connected devices have been closed before.
func (w *world) restart() {
	w.t.Helper()
	w.stop()
	w.start()
}

// crash ends the engine as a killed process would: what it has not stored by now
// is lost. A new engine starts over the same store; the devices that were
// connected get nothing any more.
func (w *world) crash() {
	w.t.Helper()
	w.gate.kill()
	old := w.e
	w.start()
	w.dead.Go(func() { // so that its goroutines end
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := old.Shutdown(ctx); err != nil {
			w.t.Errorf("shutdown of a crashed engine: %v", err)
		}
	})
}

func (w *world) actor(user string) hooks.Actor {
	return hooks.Actor{User: w.ids[user], UserName: user}
}

// believer lets everybody in under the device name he gives.
type believer struct{ w *world }

func (b believer) Authenticate(ctx context.Context, l *hooks.Login) (hooks.Grant, error) {
	us, err := b.w.store.UsersByName(ctx, []string{l.User})
	if err != nil {
		return hooks.Grant{}, err
	}
	if us[0].ID == 0 {
		return hooks.Grant{}, hooks.ErrBadCredentials
	}
	return hooks.Grant{User: us[0].ID, Device: l.Client, ByWord: true, Guest: l.Client == ""}, nil
}

// device is a connected device: its link and its session.
type device struct {
	w    *world
	e    *delivery.Engine
	name string
	s    *delivery.Session
	info delivery.OpenInfo

	mu        sync.Mutex
	changed   *sync.Cond
	got       []got
	answers   []answer
	acks      sync.WaitGroup
	completed []completion
	released  []uint16 // tags of PUBREL
	acked     []uint16 // tags whose acknowledgement the engine has taken
	closed    delivery.Reason
	hold      bool // do not acknowledge
	stuck     bool // no room in the output
	skip      int  // deliveries that are not acknowledged, from the first
	deaf      bool // does not end when the engine asks
	late      bool // connect leaves Start to the test
	largest   int  // bytes of payload that the device takes; zero: any
}

// got is a delivery as the device saw it.
type got struct {
	topic, reply string
	payload      string
	tag          uint16
	qos          byte
	dup, retain  bool
	expiry       uint32
	filters      []uint32
}

type answer struct {
	pid  uint16
	code string
	seq  uint64
	id   chat.MessageID
	sent bool
}

func (d *device) Deliver(v *delivery.Delivery) delivery.DeliverResult {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed != 0 {
		return delivery.Closed
	}
	if d.stuck {
		return delivery.NoRoom
	}
	if d.largest > 0 && len(v.Payload) > d.largest {
		return delivery.TooLarge
	}
	d.got = append(d.got, got{
		string(v.Topic), string(v.ReplyTo), string(v.Payload), v.Tag, v.QoS, v.Dup, v.Retain, v.Expiry, slices.Clone(v.Filters),
	})
	d.changed.Broadcast()
	switch {
	case v.Tag == 0 || d.hold:
	case d.skip > 0:
		d.skip--
	default:
		tag := v.Tag
		d.acks.Go(func() { d.ack(tag) })
	}
	return delivery.Delivered
}

// Release completes a QoS 2 delivery.
func (d *device) Release(tag uint16) delivery.DeliverResult {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.released = append(d.released, tag)
	d.changed.Broadcast()
	if !d.hold {
		d.acks.Go(func() { d.s.Completed(tag) })
	}
	return delivery.Delivered
}

// Complete tells of a PUBCOMP.
func (d *device) Complete(pid uint16, known bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.completed = append(d.completed, completion{pid, known})
	d.changed.Broadcast()
}

type completion struct {
	pid   uint16
	known bool
}

// free sends PUBREL and waits for PUBCOMP, which tells whether there was such a
// publish.
func (d *device) free(pid uint16) (known bool) {
	d.mu.Lock()
	n := len(d.completed)
	d.mu.Unlock()
	t := d.w.e.NewTurn()
	t.Released(d.s, pid, false)
	t.Commit()
	d.wait("PUBCOMP", func() bool { return len(d.completed) > n })
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.completed[n].known
}

// receive sends PUBREC.
func (d *device) receive(tag uint16) (known bool) {
	t := d.e.NewTurn()
	known = t.Received(d.s, tag, false)
	t.Commit()
	return known
}

// ack acknowledges a delivery.
func (d *device) ack(tag uint16) {
	if d.receive(tag) { // Release completes it
		return
	}
	if d.s.Ack(tag, false) {
		d.mu.Lock()
		d.acked = append(d.acked, tag)
		d.mu.Unlock()
	}
}

func (d *device) Answer(a *delivery.Answer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := answer{pid: a.PacketID, seq: a.Seq, id: a.ID, sent: a.Sent != nil}
	if a.Refusal != nil {
		out.code = a.Refusal.Code
	}
	d.answers = append(d.answers, out)
	d.changed.Broadcast()
}

func (d *device) Flush() {}

func (d *device) Close(r delivery.Reason) {
	d.mu.Lock()
	d.closed = r
	d.changed.Broadcast()
	deaf := d.deaf
	d.mu.Unlock()
	if deaf {
		return
	}
	go d.s.Close(context.Background(), delivery.CloseHow{Reason: "engine", LastIn: time.Now().UnixMilli()})
}

// option changes how a device connects.
type option func(*delivery.OpenOptions, *device)

func temporary(o *delivery.OpenOptions, _ *device) { o.Temporary = true }
func clean(o *delivery.OpenOptions, _ *device)     { o.Clean = true }
func holding(_ *delivery.OpenOptions, d *device)   { d.hold = true }

// receiving limits what may be outstanding, as Receive Maximum does.
func receiving(n int) option { return func(o *delivery.OpenOptions, _ *device) { o.Window = n } }

// connect opens a session without subscribing.
func (w *world) connect(user, name string, opts ...option) *device {
	w.t.Helper()
	d := &device{w: w, e: w.e, name: user + "/" + name}
	d.changed = sync.NewCond(&d.mu)
	id, err := w.e.Login(w.t.Context(), &hooks.Login{User: user, Client: name, Password: []byte("x")})
	if err != nil {
		w.t.Fatalf("login %s: %v", d.name, err)
	}
	o := delivery.OpenOptions{Link: d}
	for _, f := range opts {
		f(&o, d)
	}
	if d.s, d.info, err = w.e.Open(w.t.Context(), id, o); err != nil {
		w.t.Fatalf("open %s: %v", d.name, err)
	}
	if !d.late {
		d.s.Start()
	}
	w.t.Cleanup(func() { d.close(true) })
	return d
}

// online connects and subscribes to everything of the user.
func (w *world) online(user, name string, opts ...option) *device {
	w.t.Helper()
	d := w.connect(user, name, opts...)
	d.subscribe(1, "u/"+user+"/#", "g/+/#")
	return d
}

func (d *device) subscribe(qos byte, filters ...string) {
	d.w.t.Helper()
	for i, r := range d.trySubscribe(qos, filters...) {
		if r != nil {
			d.w.t.Fatalf("%s: subscribe %s: %v", d.name, filters[i], r)
		}
	}
}

func (d *device) trySubscribe(qos byte, filters ...string) []*delivery.Refusal {
	d.w.t.Helper()
	var subs []delivery.Subscription
	for _, f := range filters {
		subs = append(subs, delivery.Subscription{Filter: f, QoS: qos})
	}
	granted, err := d.s.Subscribe(d.w.t.Context(), subs)
	if err != nil {
		d.w.t.Fatalf("%s: subscribe: %v", d.name, err)
	}
	d.s.Feed()
	refusals := make([]*delivery.Refusal, len(granted))
	for i, g := range granted {
		refusals[i] = g.Refusal
	}
	return refusals
}

func (d *device) close(orderly bool) {
	d.s.Close(context.Background(), delivery.CloseHow{Orderly: orderly, Reason: "client", LastIn: time.Now().UnixMilli()})
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed == 0 {
		d.closed = delivery.ReasonAdmin
	}
}

// publish sends one publish and waits for its answer.
func (d *device) publish(p delivery.Publish) answer {
	d.w.t.Helper()
	d.mu.Lock()
	n := len(d.answers)
	d.mu.Unlock()
	t := d.w.e.NewTurn()
	t.Publish(d.s, &p)
	t.Commit()
	var a answer
	d.wait(fmt.Sprintf("answer to a publish on %s", p.Topic), func() bool {
		i := slices.IndexFunc(d.answers[n:], func(a answer) bool { return a.pid == p.PacketID }) // settle may run beside
		if i >= 0 {
			a = d.answers[n+i]
		}
		return i >= 0
	})
	return a
}

// send publishes a text at QoS 1 and wants it stored.
func (d *device) send(topic, text string) answer {
	d.w.t.Helper()
	a := d.publish(delivery.Publish{Topic: []byte(topic), Payload: []byte(text), QoS: 1, PacketID: 1})
	if a.code != "" || a.seq == 0 {
		d.w.t.Fatalf("%s: send %q to %s: %+v", d.name, text, topic, a)
	}
	return a
}

// wait waits until cond, called with the device's lock held, is true.
func (d *device) wait(what string, cond func() bool) {
	d.w.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	stop := time.AfterFunc(10*time.Second, d.changed.Broadcast)
	defer stop.Stop()
	d.mu.Lock()
	defer d.mu.Unlock()
	for !cond() {
		if !time.Now().Before(deadline) {
			d.w.t.Fatalf("%s: waited in vain for %s; got %d deliveries, closed %d", d.name, what, len(d.got), d.closed)
		}
		d.changed.Wait()
	}
}

// messages returns the deliveries of chats seen so far.
func (d *device) messages() []chat.Envelope {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.messagesLocked()
}

func (d *device) messagesLocked() []chat.Envelope {
	var out []chat.Envelope
	for _, g := range d.got {
		if env, err := chat.DecodeEnvelope([]byte(g.payload)); err == nil && g.reply != "" {
			out = append(out, env)
		}
	}
	return out
}

// texts waits until n messages of a chat have come and returns their texts.
func (d *device) texts(topic string, n int) []string {
	d.w.t.Helper()
	var out []string
	d.wait(fmt.Sprintf("%d messages of %s", n, topic), func() bool {
		out = out[:0]
		for _, env := range d.messagesLocked() {
			if text, ok := env.Text(); ok && env.Chat == topic {
				out = append(out, text)
			}
		}
		return len(out) >= n
	})
	return out
}

// settle waits until everything committed so far has been routed: a post of the
// same user comes back through the same queue.
func (d *device) settle() {
	d.w.t.Helper()
	d.publish(delivery.Publish{Topic: []byte("u/" + d.s.Identity().Actor.UserName + "/read"), Payload: []byte(`{"seq":1}`), QoS: 1, PacketID: 60000})
}
