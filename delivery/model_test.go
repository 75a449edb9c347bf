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
)

// TestModel runs random operations of three users with two devices each and holds
// what every device got against what a naive model says it must get.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := newModel(t, rt)
		defer m.stop()
		rt.Repeat(map[string]func(*rapid.T){
			"connect":     m.connect,
			"disconnect":  m.disconnect,
			"publish":     m.publish,
			"burst":       m.burst,
			"same cid":    m.sameCID,
			"acknowledge": m.acknowledge,
			"filters":     m.filters,
			"membership":  m.membership,
			"block":       m.block,
			"crash":       m.crash,
			"restart":     m.restart,
			"":            m.watermarks,
		})
		m.finish()
	})
}

// model is the world and what is known of it.
type model struct {
	*world
	rt      *rapid.T
	users   []string
	devices []*modelDevice
	texts   int
	sent    map[string]accepted        // by text
	members map[string][]chat.Interval // of the group, by user
	blocks  map[[2]string]bool         // who has blocked whom
}

// accepted is a publish that was answered as stored.
type accepted struct {
	chat    chat.ID
	seq     uint64
	user    string
	device  *modelDevice
	topic   string
	cid     string
	refused bool
}

// modelDevice is what a device has seen over all its connections.
type modelDevice struct {
	user, name string
	d          *device // nil while away
	taken      int     // of d.got: looked at

	had     map[chat.ID]map[uint64]bool // delivered since the last clean start
	done    map[chat.ID]map[uint64]bool // acknowledged: must not come again
	ever    map[chat.ID]map[uint64]bool // delivered at any time
	lax     bool                        // has given filters up: what it had may come without DUP after a crash
	loose   bool                        // DUP may stand on what has not come before: after a crash
	byTag   map[uint16][2]any           // of this connection
	latest  map[chat.ID]uint64          // of this connection
	repeats []delivery.Publish          // unsettled publishes of the last connection
	own     []delivery.Publish          // publishes of this connection without a cid
	nextPID uint16
}

func newModel(t *testing.T, rt *rapid.T) *model {
	m := &model{
		world: newWorldWith(t, delivery.Config{CursorFlush: time.Millisecond, Window: rapid.SampledFrom([]int{2, 5, 64}).Draw(rt, "window")}),
		rt:    rt, users: []string{"alice", "bob", "carol"},
		sent: map[string]accepted{}, members: map[string][]chat.Interval{}, blocks: map[[2]string]bool{},
	}
	for _, u := range m.users {
		m.addUser(u)
		for _, n := range []string{"phone", "laptop"} {
			d := &modelDevice{user: u, name: n, ever: map[chat.ID]map[uint64]bool{}}
			d.clean()
			m.devices = append(m.devices, d)
			m.online(u, n).close(true)
		}
	}
	if _, err := m.e.CreateGroup(t.Context(), m.actor("alice"), delivery.GroupSpec{Name: "team", Members: []string{"bob"}}); err != nil {
		rt.Fatal(err)
	}
	m.members["alice"], m.members["bob"] = []chat.Interval{{From: 1}}, []chat.Interval{{From: 1}}
	return m
}

func (d *modelDevice) clean() {
	d.had, d.done = map[chat.ID]map[uint64]bool{}, map[chat.ID]map[uint64]bool{}
	d.loose, d.lax = false, false
}

func put(m map[chat.ID]map[uint64]bool, id chat.ID, seq uint64) {
	if m[id] == nil {
		m[id] = map[uint64]bool{}
	}
	m[id][seq] = true
}

func (m *model) device(rt *rapid.T) *modelDevice {
	return rapid.SampledFrom(m.devices).Draw(rt, "device")
}

// live picks a connected device.
func (m *model) live(rt *rapid.T) *modelDevice {
	var live []*modelDevice
	for _, d := range m.devices {
		if d.d != nil {
			live = append(live, d)
		}
	}
	if len(live) == 0 {
		rt.Skip("nobody is connected")
	}
	return rapid.SampledFrom(live).Draw(rt, "device")
}

func (m *model) connect(rt *rapid.T) {
	d := m.device(rt)
	var opts []option
	fresh := rapid.IntRange(0, 4).Draw(rt, "clean") == 0
	if fresh {
		opts = append(opts, clean)
	}
	if rapid.Bool().Draw(rt, "hold") {
		opts = append(opts, holding)
	}
	old := d.d // taken over if it is there
	now := m.world.connect(d.user, d.name, opts...)
	if old != nil {
		m.ended(d, old, false)
	}
	if fresh { // the window is gone: what was acknowledged out of order may come again
		d.clean()
		m.cursors(d)
	} else if now.info.Present {
		for _, p := range d.repeats {
			m.repeat(d, now, p)
		}
	}
	d.d, d.taken, d.nextPID = now, 0, uint16(len(d.repeats)+1)
	d.byTag, d.latest, d.own, d.repeats = map[uint16][2]any{}, map[chat.ID]uint64{}, nil, nil
	if !now.info.Present || rapid.Bool().Draw(rt, "subscribe") {
		now.subscribe(1, "u/"+d.user+"/#", "g/+/#")
	}
}

// repeat sends a publish of the last connection again.
func (m *model) repeat(d *modelDevice, now *device, p delivery.Publish) {
	was := m.sent[string(p.Payload)]
	if a := now.publish(again(p)); a.code != "" || a.seq != was.seq {
		m.rt.Fatalf("%s/%s: %q sent again is answered %q at %d, first at %d", d.user, d.name, p.Payload, a.code, a.seq, was.seq)
	}
}

// cursors makes what is stored the truth about what a device has acknowledged.
func (m *model) cursors(d *modelDevice) {
	row, err := m.store.DeviceByName(m.t.Context(), m.ids[d.user], d.name)
	if err != nil {
		m.rt.Fatal(err)
	}
	tails, err := m.store.Inbox(m.t.Context(), m.ids[d.user], row.ID, chat.ID{}, 100)
	if err != nil {
		m.rt.Fatal(err)
	}
	d.done = map[chat.ID]map[uint64]bool{}
	for _, t := range tails {
		for seq := range t.Cursor {
			put(d.done, t.Chat, seq+1)
		}
	}
}

func (m *model) disconnect(rt *rapid.T) {
	d := m.live(rt)
	orderly := rapid.Bool().Draw(rt, "orderly")
	old := d.d
	old.close(orderly)
	m.ended(d, old, orderly)
}

// ended takes note of a connection that is over.
func (m *model) ended(d *modelDevice, old *device, orderly bool) {
	old.acks.Wait()
	m.look(d)
	d.d, d.repeats = nil, nil
	if !orderly {
		d.repeats = d.own
	}
}

// look checks what a device got since it was last looked at.
func (m *model) look(d *modelDevice) {
	d.d.mu.Lock()
	got, acked := slices.Clone(d.d.got[d.taken:]), slices.Clone(d.d.acked)
	d.taken = len(d.d.got)
	d.d.mu.Unlock()
	for _, g := range got {
		m.check(d, g)
	}
	for _, tag := range acked {
		if v, ok := d.byTag[tag]; ok {
			put(d.done, v[0].(chat.ID), v[1].(uint64))
			delete(d.byTag, tag)
		}
	}
}

func (m *model) check(d *modelDevice, g got) {
	env, err := chat.DecodeEnvelope([]byte(g.payload))
	if err != nil || g.reply == "" {
		return
	}
	id := m.chatOf(d.user, env.Chat)
	if id.Kind() == chat.KindEvents {
		return
	}
	who := fmt.Sprintf("%s/%s: entry %d of %s", d.user, d.name, env.Seq, env.Chat)
	text, _ := env.Text()
	switch was, known := m.sent[text]; {
	case known && (was.chat != id || was.seq != env.Seq || was.user != env.From):
		m.rt.Fatalf("%s is %q, which was stored as %+v", who, text, was)
	case known && was.device == d:
		m.rt.Fatalf("%s came back to the device that had sent it", who)
	case !known && env.Type == chat.TypeText:
		m.rt.Fatalf("%s is %q, which nobody has sent", who, text)
	case id.Kind() == chat.KindGroup && !(&chat.Member{Intervals: m.members[d.user]}).Sees(env.Seq):
		m.rt.Fatalf("%s came to who may not see it: %v", who, m.members[d.user])
	case env.Seq <= d.latest[id]:
		m.rt.Fatalf("%s came behind entry %d", who, d.latest[id])
	case d.done[id][env.Seq]:
		m.rt.Fatalf("%s came again after its acknowledgement", who)
	case d.had[id][env.Seq] && !g.dup && !d.lax:
		m.rt.Fatalf("%s came again without DUP", who)
	case g.dup && !d.had[id][env.Seq] && !d.loose:
		m.rt.Fatalf("%s came with DUP for the first time", who)
	case g.tag == 0:
		m.rt.Fatalf("%s came at QoS 0", who)
	}
	d.latest[id], d.byTag[g.tag] = env.Seq, [2]any{id, env.Seq}
	put(d.had, id, env.Seq)
	put(d.ever, id, env.Seq)
}

// chatOf names the chat of a topic as a user sees it.
func (m *model) chatOf(user, topic string) chat.ID {
	switch topic {
	case "g/team":
		gs, err := m.store.GroupsByName(m.t.Context(), []string{"team"})
		if err != nil {
			m.rt.Fatal(err)
		}
		return chat.GroupChat(gs[0].ID)
	case "u/" + user + "/events":
		return chat.EventsChat(m.ids[user])
	default:
		return chat.DirectChat(m.ids[user], m.ids[topic[2:]])
	}
}

// draw makes up a publish of a device.
func (m *model) draw(rt *rapid.T, d *modelDevice) (delivery.Publish, accepted) {
	m.texts++
	body := fmt.Sprintf("text %d", m.texts)
	topic := rapid.SampledFrom([]string{"u/alice", "u/bob", "u/carol", "g/team"}).Draw(rt, "to")
	d.nextPID++
	p := text(topic, body, d.nextPID)
	as := accepted{chat: m.chatOf(d.user, topic), user: d.user, device: d, topic: topic}
	if rapid.IntRange(0, 2).Draw(rt, "with cid") == 0 {
		as.cid = body
		p.Payload = fmt.Appendf(nil, `{"cid":%q,"body":%q}`, body, body)
	}
	if topic == "g/team" {
		as.refused = !(&chat.Member{Intervals: m.members[d.user]}).Sees(1 << 40)
	} else {
		as.refused = m.blocks[[2]string{topic[2:], d.user}]
	}
	return p, as
}

func (m *model) answered(d *modelDevice, p delivery.Publish, as accepted, a answer) {
	if (a.code != "") != as.refused || !as.refused && a.seq == 0 {
		m.rt.Fatalf("%s/%s: publish to %s: answered %q at %d, to be refused: %v", d.user, d.name, p.Topic, a.code, a.seq, as.refused)
	}
	if as.refused {
		return
	}
	as.seq = a.seq
	body := string(p.Payload)
	if as.cid != "" {
		body = as.cid
	} else {
		d.own = append(d.own, p)
	}
	m.sent[body] = as
}

func (m *model) publish(rt *rapid.T) {
	d := m.live(rt)
	p, as := m.draw(rt, d)
	m.answered(d, p, as, d.d.publish(p))
}

// burst publishes from all connected devices at once, so that entries are
// committed while others are handed on and read.
func (m *model) burst(rt *rapid.T) {
	m.live(rt)
	type sending struct {
		d  *modelDevice
		n  int
		ps []delivery.Publish
		as []accepted
	}
	var all []sending
	for _, d := range m.devices {
		if d.d == nil {
			continue
		}
		s := sending{d: d, n: len(d.d.answers)}
		for range rapid.IntRange(1, 8).Draw(rt, "number") {
			p, as := m.draw(rt, d)
			s.ps, s.as = append(s.ps, p), append(s.as, as)
		}
		all = append(all, s)
	}
	for _, s := range all {
		s.d.d.ask(s.ps...)
	}
	for _, s := range all {
		s.d.d.wait("answers", func() bool { return len(s.d.d.answers) >= s.n+len(s.ps) })
		for i, p := range s.ps {
			m.answered(s.d, p, s.as[i], s.d.d.answers[s.n+i])
		}
	}
}

// sameCID sends a message with a cid again, from any device of its user that may
// still write there.
func (m *model) sameCID(rt *rapid.T) {
	var bodies []string
	for _, body := range slices.Sorted(maps.Keys(m.sent)) {
		if m.sent[body].cid != "" {
			bodies = append(bodies, body)
		}
	}
	if len(bodies) == 0 {
		rt.Skip("nothing has a cid")
	}
	body := rapid.SampledFrom(bodies).Draw(rt, "text")
	was := m.sent[body]
	d := m.live(rt)
	mayNot := m.blocks[[2]string{was.topic[2:], d.user}] || was.topic == "g/team" && !(&chat.Member{Intervals: m.members[d.user]}).Sees(1<<40)
	if d.user != was.user || mayNot {
		rt.Skip("not his to send")
	}
	d.nextPID++
	if a := d.d.publish(text(was.topic, fmt.Sprintf(`{"cid":%q,"body":%q}`, body, body), d.nextPID)); a.seq != was.seq {
		rt.Fatalf("%q sent again is answered %q at %d, first at %d", body, a.code, a.seq, was.seq)
	}
}

// acknowledge takes some of what a device holds back, in any order.
func (m *model) acknowledge(rt *rapid.T) {
	d := m.live(rt)
	for _, tag := range d.d.tags() {
		if rapid.Bool().Draw(rt, "this") {
			d.d.ack(tag)
		}
	}
}

// filters gives the group up, or subscribes to everything again.
func (m *model) filters(rt *rapid.T) {
	d := m.live(rt)
	if rapid.Bool().Draw(rt, "all") {
		d.d.subscribe(1, "u/"+d.user+"/#", "g/+/#")
		return
	}
	d.lax = true
	if _, err := d.d.s.Unsubscribe(m.t.Context(), []string{"g/+/#"}); err != nil {
		rt.Fatal(err)
	}
}

func (m *model) membership(rt *rapid.T) {
	u := rapid.SampledFrom([]string{"bob", "carol"}).Draw(rt, "user")
	ivs := m.members[u]
	if n := len(ivs); n > 0 && ivs[n-1].To == 0 {
		r, err := m.e.RemoveMembers(m.t.Context(), m.actor("alice"), "team", []string{u})
		if err != nil {
			rt.Fatal(err)
		}
		ivs[n-1].To = r.Seq
		return
	}
	r, err := m.e.AddMembers(m.t.Context(), m.actor("alice"), "team", []string{u})
	if err != nil || len(r.Added) != 1 {
		rt.Skip("he has blocked the owner") // and is invited
	}
	m.members[u] = append(ivs, chat.Interval{From: r.Seq})
}

func (m *model) block(rt *rapid.T) {
	pair := [2]string{rapid.SampledFrom(m.users).Draw(rt, "who"), rapid.SampledFrom(m.users).Draw(rt, "whom")}
	if pair[0] == pair[1] {
		rt.Skip("oneself")
	}
	m.blocks[pair] = !m.blocks[pair]
	if err := m.e.SetBlock(m.t.Context(), m.actor(pair[0]), pair[1], m.blocks[pair]); err != nil {
		rt.Fatal(err)
	}
}

func (m *model) crash(*rapid.T) {
	m.world.crash()
	for _, d := range m.devices {
		if old := d.d; old != nil {
			old.close(false)
			m.ended(d, old, false)
		}
		m.cursors(d)
		d.loose = true
	}
}

func (m *model) restart(*rapid.T) {
	for _, d := range m.devices {
		if old := d.d; old != nil {
			old.close(false)
			m.ended(d, old, false)
		}
	}
	m.world.restart()
}

// watermarks checks that "delivered" is claimed of nothing that no device of the
// user has acknowledged or sent.
func (m *model) watermarks(rt *rapid.T) {
	highest := map[string]map[chat.ID]uint64{}
	for _, u := range m.users {
		highest[u] = map[chat.ID]uint64{}
	}
	marks := map[string]map[chat.ID]uint64{}
	for _, u := range m.users { // first, as they only grow
		marks[u] = map[chat.ID]uint64{}
		tails, err := m.store.Inbox(m.t.Context(), m.ids[u], 0, chat.ID{}, 100)
		if err != nil {
			rt.Fatal(err)
		}
		for _, t := range tails {
			marks[u][t.Chat] = t.Delivered
		}
	}
	for _, d := range m.devices {
		if d.d != nil {
			m.look(d)
		}
		for id, seqs := range d.ever {
			for seq := range seqs {
				highest[d.user][id] = max(highest[d.user][id], seq)
			}
		}
	}
	for _, as := range m.sent {
		highest[as.user][as.chat] = max(highest[as.user][as.chat], as.seq)
	}
	for u, of := range marks {
		for id, mark := range of {
			if id.Kind() != chat.KindEvents && mark > highest[u][id] {
				rt.Fatalf("%s: delivered is at %d of %v, and no device has more than %d", u, mark, id, highest[u][id])
			}
		}
	}
}

// finish connects everybody and waits until all have what is theirs.
func (m *model) finish() {
	for _, d := range m.devices {
		old := d.d
		now := m.world.connect(d.user, d.name)
		if old != nil {
			m.ended(d, old, false)
		}
		d.d, d.taken, d.byTag, d.latest = now, 0, map[uint16][2]any{}, map[chat.ID]uint64{}
		now.subscribe(1, "u/"+d.user+"/#", "g/+/#")
	}
	for _, d := range m.devices {
		want := m.owed(d)
		d.d.wait("everything that is its own", func() bool {
			have := 0
			for _, env := range d.d.messagesLocked() {
				if id := m.chatOf(d.user, env.Chat); want[id][env.Seq] && !d.ever[id][env.Seq] {
					have++
				}
			}
			missing := 0
			for id, seqs := range want {
				for seq := range seqs {
					if !d.ever[id][seq] {
						missing++
					}
				}
			}
			return have >= missing
		})
	}
	m.nothingComesAgain()
	m.logs()
}

// nothingComesAgain restarts the engine, and sees that everybody has had everything.
func (m *model) nothingComesAgain() {
	m.restart(nil)
	for _, d := range m.devices {
		now := m.world.connect(d.user, d.name)
		d.d, d.taken, d.byTag, d.latest = now, 0, map[uint16][2]any{}, map[chat.ID]uint64{}
		now.settle()
	}
	for _, d := range m.devices {
		m.look(d)
	}
}

// owed is every entry that a device must have got by the end.
func (m *model) owed(d *modelDevice) map[chat.ID]map[uint64]bool {
	want := map[chat.ID]map[uint64]bool{}
	for _, as := range m.sent {
		direct := as.chat.Kind() == chat.KindDirect && slices.Contains(as.chat.Users(), m.ids[d.user])
		group := as.chat.Kind() == chat.KindGroup && (&chat.Member{Intervals: m.members[d.user]}).Sees(as.seq)
		if as.device != d && (direct || group) {
			put(want, as.chat, as.seq)
		}
	}
	return want
}

// logs checks that the logs are dense and hold what was accepted, once.
func (m *model) logs() {
	seen := map[string]int{}
	for id := range m.chats() {
		msgs, err := m.store.Read(m.t.Context(), storage.Range{Chat: id, Limit: 100_000})
		if err != nil {
			m.rt.Fatal(err)
		}
		for i := range msgs {
			if msgs[i].Seq != uint64(i+1) {
				m.rt.Fatalf("%v: entry %d is at place %d", id, msgs[i].Seq, i+1)
			}
			seen[string(msgs[i].Body)]++
		}
	}
	for body, as := range m.sent {
		if n := seen[`"`+body+`"`]; n != 1 {
			m.rt.Fatalf("%q, stored as %+v, is in the logs %d times", body, as, n)
		}
	}
	for body, n := range seen {
		if len(body) > 6 && body[:6] == `"text ` && n != 1 {
			m.rt.Fatalf("%s is in the logs %d times", body, n)
		}
	}
}

func (m *model) chats() map[chat.ID]bool {
	out := map[chat.ID]bool{}
	for _, as := range m.sent {
		out[as.chat] = true
	}
	return out
}

func (m *model) stop() {
	for _, d := range m.devices {
		if d.d != nil {
			d.d.close(true)
		}
	}
	m.world.stop()
}
