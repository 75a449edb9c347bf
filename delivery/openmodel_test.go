package delivery_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tidings/chat"
	"tidings/delivery"
	"tidings/storage"
	"tidings/topics"
)

// TestOpenModel runs random operations on open topics, with a chat beside them, and
// holds what every device got against what a naive model says it must get.
func TestOpenModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := newOpenModel(t, rt)
		defer m.stop()
		rt.Repeat(map[string]func(*rapid.T){
			"connect":     m.connect,
			"disconnect":  m.disconnect,
			"subscribe":   m.subscribe,
			"unsubscribe": m.unsubscribe,
			"publish":     m.publish,
			"burst":       m.burst,
			"acknowledge": m.acknowledge,
			"hold":        m.hold,
			"stick":       m.stick,
			"chat":        m.chat,
			"full":        m.full,
			"crash":       m.crash,
			"restart":     m.restart,
			"":            m.look,
		})
		m.finish()
	})
}

// openModel is the world and what is known of it.
type openModel struct {
	*world
	rt       *rapid.T
	devices  []*openDevice
	n        int // publishes
	ids      uint32
	retained map[string]openRetained
	chats    map[string][]string // texts, by user
	queue    int                 // limit
	refuse   bool
	crashed  bool   // ever: DUP may stand on what has not come before
	dropped  uint64 // by engines that are gone
}

type openRetained struct {
	payload string
	qos     byte
}

// openDevice is a device over all its connections.
type openDevice struct {
	user, name string
	d          *device // nil while away
	taken      int     // of d.got: looked at
	temporary  bool    // the present connection
	stored     bool    // a session is kept
	lax        bool    // the disk was full: PUBREC may not have become durable
	loose      bool    // after a crash: what was acknowledged may come again, with DUP
	nextPID    uint16

	subs   map[string]delivery.Subscription
	owed   map[string]*openCopy // of the present session, by key
	byTag  map[uint16][]*openCopy
	latest map[string]int // by publisher and topic, on this connection
	texts  map[string]bool
}

// openCopy is a message on its way to one device.
type openCopy struct {
	topic, payload string
	n              int
	from           *openDevice
	qos            byte
	retain         bool
	job            bool       // a retained message that a subscription has asked for
	share          *openShare // nil: for this device alone
	optional       bool
	times          int  // it has come
	done, released bool // acknowledged; QoS 2: PUBREL has come
}

// openShare is a message for one of several devices.
type openShare struct {
	by       *openDevice
	optional bool
}

func openKey(payload string, ids []uint32) string {
	ids = slices.Sorted(slices.Values(ids))
	return fmt.Sprint(payload, " ", ids)
}

func newOpenModel(t *testing.T, rt *rapid.T) *openModel {
	m := &openModel{
		rt: rt, retained: map[string]openRetained{}, chats: map[string][]string{},
		queue: rapid.SampledFrom([]int{10_000, 10_000, 5}).Draw(rt, "queue"), refuse: rapid.Bool().Draw(rt, "refuse"),
	}
	m.world = openWorld(t, func(c *delivery.Config) {
		c.CursorFlush, c.Window = time.Millisecond, rapid.SampledFrom([]int{1, 3, 64}).Draw(rt, "window")
		c.Open.Queue, c.Open.Refuse = m.queue, m.refuse
	}, "alice", "bob")
	for _, u := range []string{"alice", "bob"} {
		for _, n := range []string{"phone", "laptop", ""} {
			d := &openDevice{user: u, name: n, texts: map[string]bool{}}
			d.forget()
			m.devices = append(m.devices, d)
			if n != "" { // so that it has an inbox
				c := m.online(u, n)
				c.s.Close(t.Context(), delivery.CloseHow{Orderly: true, Forget: true})
			}
		}
	}
	for _, d := range m.devices {
		if d.name == "phone" {
			m.enter(d, true, false, clean)
		}
	}
	return m
}

// forget ends the session.
func (d *openDevice) forget() {
	for _, c := range d.owed {
		if c.share != nil {
			c.share.optional = true
		}
	}
	d.subs, d.owed, d.stored, d.loose = map[string]delivery.Subscription{}, map[string]*openCopy{}, false, false
	d.lax = false
}

func (m *openModel) draw(rt *rapid.T, live bool) *openDevice {
	var of []int
	for i, d := range m.devices {
		if !live || d.d != nil {
			of = append(of, i)
		}
	}
	if len(of) == 0 {
		rt.Skip("nobody is connected")
	}
	return m.devices[rapid.SampledFrom(of).Draw(rt, "device")]
}

func (m *openModel) connect(rt *rapid.T) {
	d := m.draw(rt, false)
	var opts []option
	temp := d.name == "" || rapid.IntRange(0, 4).Draw(rt, "temporary") == 0
	fresh := temp || rapid.IntRange(0, 4).Draw(rt, "clean") == 0
	if fresh {
		opts = append(opts, clean)
	}
	if temp {
		opts = append(opts, temporary)
	}
	if rapid.Bool().Draw(rt, "hold") {
		opts = append(opts, holding)
	}
	if old := d.d; old != nil && d.name == "" {
		old.close(false)
		m.ended(d, old, false)
	}
	m.enter(d, fresh, temp, opts...)
}

// enter connects a device.
func (m *openModel) enter(d *openDevice, fresh, temp bool, opts ...option) {
	old := d.d
	now := m.world.connect(d.user, d.name, opts...)
	if old != nil {
		old.acks.Wait()
		m.ended(d, old, false)
	}
	if now.info.Present != (d.stored && !fresh) {
		m.rt.Fatalf("%s/%s: present %v, kept %v, clean %v", d.user, d.name, now.info.Present, d.stored, fresh)
	}
	if fresh {
		d.forget()
	}
	d.d, d.taken, d.temporary, d.nextPID = now, 0, temp, 0
	d.byTag, d.latest = map[uint16][]*openCopy{}, map[string]int{}
	if d.name != "" && !now.info.Present {
		now.subscribe(1, "u/"+d.user)
		d.stored = !temp
	}
}

func (m *openModel) disconnect(rt *rapid.T) {
	d := m.draw(rt, true)
	how := delivery.CloseHow{Orderly: rapid.Bool().Draw(rt, "orderly"), Forget: rapid.IntRange(0, 3).Draw(rt, "forget") == 0, LastIn: time.Now().UnixMilli()}
	if rapid.Bool().Draw(rt, "keep for") {
		how.KeepFor = time.Hour
	}
	old := d.d
	old.s.Close(m.t.Context(), how)
	m.ended(d, old, how.Forget)
}

// ended takes note of a connection that is over.
func (m *openModel) ended(d *openDevice, old *device, forget bool) {
	old.close(false)
	old.acks.Wait()
	m.see(d)
	d.d = nil
	if forget || d.temporary {
		d.forget()
		return
	}
	d.stored = true
	for _, c := range d.owed { // live only
		if c.qos == 0 {
			c.optional = true
		}
	}
}

func (m *openModel) subscribe(rt *rapid.T) {
	d := m.draw(rt, true)
	filter := rapid.SampledFrom([]string{"open/#", "open/a", "open/+", "open/a/#", "#", "$share/s/open/#", "$share/t/open/a"}).Draw(rt, "filter")
	m.ids++
	sub := delivery.Subscription{
		Filter: filter, QoS: byte(rapid.IntRange(0, 2).Draw(rt, "qos")), ID: m.ids, NoLocal: rapid.Bool().Draw(rt, "no local"),
		RetainAsPublished: rapid.Bool().Draw(rt, "as published"), RetainHandling: byte(rapid.IntRange(0, 2).Draw(rt, "handling")),
	}
	_, _, shared := topics.ParseShared(filter)
	sub.NoLocal = sub.NoLocal && !shared
	_, there := d.subs[filter]
	if !shared && (sub.RetainHandling == 0 || sub.RetainHandling == 1 && !there) {
		for topic, r := range m.retained {
			if topics.Match(filter, topic) {
				d.owed[openKey(r.payload, []uint32{sub.ID})] = &openCopy{topic: topic, payload: r.payload, qos: min(r.qos, sub.QoS), retain: true, job: true}
			}
		}
	}
	d.subs[filter] = sub
	if rapid.Bool().Draw(rt, "expect") {
		d.d.s.Expect([]delivery.Subscription{sub})
	}
	if g := d.d.subscribeWith(sub); g[0].Refusal != nil {
		rt.Fatalf("subscribe %s: %v", filter, g[0].Refusal)
	}
	d.stored = d.stored || !d.temporary
}

func (m *openModel) unsubscribe(rt *rapid.T) {
	d := m.draw(rt, true)
	if len(d.subs) == 0 {
		rt.Skip("no subscriptions")
	}
	filter := rapid.SampledFrom(slices.Sorted(maps.Keys(d.subs))).Draw(rt, "filter")
	if _, err := d.d.s.Unsubscribe(m.t.Context(), []string{filter}); err != nil {
		rt.Fatal(err)
	}
	for _, c := range d.owed { // what waits may still come [MQTT-3.10.4-2]
		c.optional = true
		if c.share != nil {
			c.share.optional = true
		}
	}
	delete(d.subs, filter)
}

// make makes up a publish.
func (m *openModel) make(rt *rapid.T, d *openDevice) delivery.Publish {
	m.n++
	d.nextPID++
	p := delivery.Publish{
		Topic: []byte(rapid.SampledFrom([]string{"open/a", "open/b", "open/a/c"}).Draw(rt, "topic")), Payload: fmt.Append(nil, m.n),
		QoS: byte(rapid.IntRange(0, 2).Draw(rt, "qos")), Retain: rapid.IntRange(0, 2).Draw(rt, "retain") == 0, PacketID: d.nextPID,
	}
	if p.Retain && rapid.IntRange(0, 3).Draw(rt, "empty") == 0 {
		p.Payload = nil
	}
	return p
}

// accepted takes note of a publish that was answered.
func (m *openModel) accepted(d *openDevice, p delivery.Publish, n int, a answer) {
	if a.code == delivery.CodeQuota && m.refuse && m.queue < 100 {
		return
	}
	if a.code != "" {
		m.rt.Fatalf("%s/%s: publish %+v: %+v", d.user, d.name, p, a)
	}
	topic, payload := string(p.Topic), string(p.Payload)
	if p.Retain {
		delete(m.retained, topic)
		if payload != "" {
			m.retained[topic] = openRetained{payload, p.QoS}
		}
		for _, to := range m.devices {
			for _, c := range to.owed {
				c.optional = c.optional || c.job && c.topic == topic
			}
		}
	}
	if payload == "" { // cannot be told from others
		return
	}
	shares := map[string]*openShare{}
	for _, to := range m.devices {
		own := &openCopy{topic: topic, payload: payload, n: n, from: d}
		var ids []uint32
		for filter, sub := range to.subs {
			_, rest, shared := topics.ParseShared(filter)
			if !shared {
				rest = filter
			}
			if !topics.Match(rest, topic) || sub.NoLocal && to == d {
				continue
			}
			qos, retain := min(p.QoS, sub.QoS), p.Retain && sub.RetainAsPublished
			if !shared {
				ids = append(ids, sub.ID)
				own.qos, own.retain = max(own.qos, qos), own.retain || retain
				continue
			}
			sh := shares[filter]
			if sh == nil {
				sh = &openShare{}
				shares[filter] = sh
			}
			c := &openCopy{topic: topic, payload: payload, n: n, from: d, qos: qos, retain: retain, share: sh}
			sh.optional = sh.optional || qos == 0 || to.temporary
			to.owed[openKey(payload, []uint32{sub.ID})] = c
		}
		if len(ids) == 0 {
			continue
		}
		if own.qos == 0 {
			if to.d == nil {
				continue
			}
			to.d.mu.Lock()
			own.optional = to.d.stuck
			to.d.mu.Unlock()
		}
		to.owed[openKey(payload, ids)] = own
	}
}

func (m *openModel) publish(rt *rapid.T) {
	d := m.draw(rt, true)
	p := m.make(rt, d)
	m.accepted(d, p, m.n, d.d.publish(p))
	if p.QoS < 2 {
		return
	}
	if rapid.Bool().Draw(rt, "repeated") {
		p.Dup = true
		d.d.publish(p)
	}
	d.d.free(p.PacketID)
}

// burst publishes from all connected devices at once.
func (m *openModel) burst(rt *rapid.T) {
	type sending struct {
		d  *openDevice
		n  int
		ps []delivery.Publish
		ns []int
	}
	var all []sending
	for _, d := range m.devices {
		if d.d == nil {
			continue
		}
		s := sending{d: d, n: len(d.d.answers)}
		for range rapid.IntRange(1, 6).Draw(rt, "number") {
			p := m.make(rt, d)
			p.Retain, p.Payload = false, fmt.Append(nil, m.n) // whose is the last nobody knows
			s.ps, s.ns = append(s.ps, p), append(s.ns, m.n)
		}
		all = append(all, s)
	}
	for _, s := range all {
		s.d.d.ask(s.ps...)
	}
	for _, s := range all {
		s.d.d.wait("answers", func() bool { return len(s.d.d.answers) >= s.n+len(s.ps) })
	}
	for _, s := range all {
		for i, p := range s.ps {
			m.accepted(s.d, p, s.ns[i], s.d.d.answers[s.n+i])
		}
		for _, p := range s.ps {
			if p.QoS == 2 {
				s.d.d.free(p.PacketID)
			}
		}
	}
}

// acknowledge takes some steps of what a device holds back, in any order.
func (m *openModel) acknowledge(rt *rapid.T) {
	d := m.draw(rt, true)
	for _, tag := range d.d.tags() {
		if rapid.Bool().Draw(rt, "this") {
			d.d.ack(tag)
		}
	}
	d.d.mu.Lock()
	released := slices.Clone(d.d.released)
	d.d.mu.Unlock()
	for _, tag := range released {
		if rapid.Bool().Draw(rt, "complete") {
			d.d.s.Completed(tag)
		}
	}
}

// yield has a device acknowledge everything from now on.
func (d *openDevice) yield() {
	d.d.mu.Lock()
	d.d.hold, d.d.stuck = false, false
	released := slices.Clone(d.d.released)
	d.d.mu.Unlock()
	d.d.s.Writable()
	for _, tag := range d.d.tags() {
		d.d.ack(tag)
	}
	for _, tag := range released {
		d.d.s.Completed(tag)
	}
}

func (m *openModel) hold(rt *rapid.T) {
	d := m.draw(rt, true)
	if rapid.Bool().Draw(rt, "hold") {
		d.d.mu.Lock()
		d.d.hold = true
		d.d.mu.Unlock()
		return
	}
	d.yield()
}

func (m *openModel) stick(rt *rapid.T) {
	d := m.draw(rt, true)
	on := rapid.Bool().Draw(rt, "on")
	for _, c := range d.owed { // it may be on its way
		c.optional = c.optional || on && c.qos == 0 && !c.job
	}
	d.d.stick(on)
	if !on {
		d.d.s.Writable()
	}
}

func (m *openModel) chat(rt *rapid.T) {
	d := m.draw(rt, true)
	to := map[string]string{"alice": "bob", "bob": "alice"}[d.user]
	m.n++
	d.nextPID++
	if a := d.d.publish(text("u/"+to, fmt.Sprint("chat ", m.n), d.nextPID)); a.code != "" {
		rt.Fatalf("chat: %+v", a)
	}
	m.chats[to] = append(m.chats[to], fmt.Sprint("chat ", m.n))
}

// full has the disk full for one publish: it is refused if anything of it is to be
// stored.
func (m *openModel) full(rt *rapid.T) {
	d := m.draw(rt, true)
	p := m.make(rt, d)
	for _, d := range m.devices {
		d.lax = true
	}
	m.gate.on("Append", func() error { return storage.ErrFull })
	a := d.d.publish(p)
	m.gate.on("Append", nil)
	if a.code == "" {
		m.accepted(d, p, m.n, a)
	} else if a.code != delivery.CodeStorageFull && a.code != delivery.CodeQuota {
		rt.Fatalf("on a full disk: %+v", a)
	}
	if p.QoS == 2 {
		d.d.free(p.PacketID)
	}
}

func (m *openModel) crash(*rapid.T) {
	m.crashed = true
	m.dropped += m.e.Stats().QueueDropped.Load()
	m.world.crash()
	for _, d := range m.devices {
		stored := d.stored
		if old := d.d; old != nil {
			old.close(false)
			m.ended(d, old, false)
			d.stored = stored && !d.temporary
		}
		d.loose = true
		for _, c := range d.owed {
			c.optional = c.optional || c.job
		}
	}
}

func (m *openModel) restart(*rapid.T) {
	for _, d := range m.devices {
		if old := d.d; old != nil {
			old.close(true)
			m.ended(d, old, false)
		}
	}
	m.dropped += m.e.Stats().QueueDropped.Load()
	m.world.restart()
}

func (m *openModel) look(*rapid.T) {
	for _, d := range m.devices {
		if d.d != nil {
			m.see(d)
		}
	}
}

// see checks what a device got since it was last looked at.
func (m *openModel) see(d *openDevice) {
	d.d.mu.Lock()
	got, acked, released := slices.Clone(d.d.got[d.taken:]), slices.Clone(d.d.acked), slices.Clone(d.d.released)
	d.taken = len(d.d.got)
	d.d.mu.Unlock()
	for _, g := range got {
		if g.reply == "" {
			m.check(d, g)
		} else if env, err := chat.DecodeEnvelope([]byte(g.payload)); err == nil {
			text, _ := env.Text()
			d.texts[text] = true
		}
	}
	for _, tag := range acked {
		for _, c := range d.byTag[tag] {
			c.done = true
		}
	}
	for _, tag := range released {
		for _, c := range d.byTag[tag] {
			c.done, c.released = true, true
		}
	}
}

// copies finds what a delivery is: retained messages that several subscriptions
// have asked for may come as one.
func (d *openDevice) copies(g got) []*openCopy {
	if c := d.owed[openKey(g.payload, g.filters)]; c != nil {
		return []*openCopy{c}
	}
	var all []*openCopy
	for _, id := range g.filters {
		c := d.owed[openKey(g.payload, []uint32{id})]
		if c == nil || !c.job {
			return nil
		}
		all = append(all, c)
	}
	return all
}

func (m *openModel) check(d *openDevice, g got) {
	if g.payload == "" {
		return
	}
	cs := d.copies(g)
	fail := func(why string) {
		m.rt.Helper()
		m.rt.Fatalf("%s/%s: %+v: %s", d.user, d.name, g, why)
	}
	if len(cs) == 0 {
		fail("this it has not asked for")
	}
	qos := byte(0)
	for _, c := range cs {
		qos = max(qos, c.qos)
		switch {
		case c.topic != g.topic || c.retain != g.retain:
			fail(fmt.Sprintf("published as %+v", c))
		case c.released && !d.lax:
			fail("it came again at QoS 2 behind PUBREL")
		case c.times > 0 && !g.dup:
			fail("it came again without DUP")
		case c.done && !d.loose:
			fail("it came again behind its acknowledgement")
		case c.times == 0 && g.dup && !m.crashed:
			fail("it came with DUP for the first time")
		case c.share != nil && c.share.by != nil && c.share.by != d:
			fail("another member of the share had it")
		}
		c.times++
		if c.share != nil {
			c.share.by = d
		}
		if g.tag != 0 {
			d.byTag[g.tag] = append(d.byTag[g.tag][:0:0], cs...)
		}
	}
	if qos != g.qos || (g.qos > 0) != (g.tag != 0) {
		fail(fmt.Sprintf("it is due at QoS %d", qos))
	}
	if c := cs[0]; !c.job && c.share == nil && c.qos > 0 {
		key := fmt.Sprint(c.from.user, "/", c.from.name, " ", c.topic)
		if c.n <= d.latest[key] {
			fail(fmt.Sprintf("it came behind %d", d.latest[key]))
		}
		d.latest[key] = c.n
	}
}

// missing returns what a device has to get yet.
func (m *openModel) missing(d *openDevice) []string {
	m.see(d)
	var out []string
	for key, c := range d.owed {
		if c.times == 0 && !c.optional && (c.share == nil || c.share.by == nil && !c.share.optional) {
			out = append(out, fmt.Sprintf("%s (%+v)", key, *c))
		}
	}
	for _, text := range m.chats[d.user] {
		if d.name != "" && !d.texts[text] {
			out = append(out, text)
		}
	}
	return out
}

// finish has everybody who may take something take it, and nothing be missing but
// what was counted.
func (m *openModel) finish() {
	m.settleAll("at the end")
	for _, d := range m.devices {
		if d.name != "" {
			m.enter(d, !d.stored, false)
		}
	}
	m.settleAll("after a reconnect")
	m.restart(nil)
	for _, d := range m.devices {
		if d.name != "" {
			m.enter(d, !d.stored, false)
		}
	}
	m.settleAll("after a restart")
}

func (m *openModel) settleAll(when string) {
	for _, d := range m.devices {
		if d.d != nil {
			d.yield()
		}
	}
	deadline := time.Now().Add(5 * time.Second)
	for {
		var missing []string
		for _, d := range m.devices {
			if d.d != nil {
				for _, one := range m.missing(d) {
					missing = append(missing, d.user+"/"+d.name+": "+one)
				}
			}
		}
		if uint64(len(missing)) <= m.dropped+m.e.Stats().QueueDropped.Load() {
			return
		}
		if time.Now().After(deadline) {
			m.rt.Fatalf("%s %d are missing, %d were given up: %q", when, len(missing), m.dropped+m.e.Stats().QueueDropped.Load(), missing)
		}
		for _, d := range m.devices { // what the engine does meanwhile
			if d.d != nil && d.name != "" {
				d.d.settle()
			}
		}
	}
}

func (m *openModel) stop() {
	for _, d := range m.devices {
		if d.d != nil {
			d.d.close(true)
		}
	}
	m.world.stop()
}
