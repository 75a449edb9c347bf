package delivery

import (
	"context"
	"slices"
	"time"

	"tidings/chat"
	"tidings/storage"
	"tidings/topics"
)

var (
	refuseQueueFull = &Refusal{Code: CodeQuota, Message: "the queue of a subscriber is full; nothing was stored"}
	refuseRetained  = &Refusal{Code: CodeQuota, Message: "this server has as many retained messages as are allowed; nothing was stored"}
	refuseAccess    = &Refusal{Code: CodeNotAllowed, Message: "you may not publish there"}
)

// openItem is what an item for an open topic has beside other items.
type openItem struct {
	retain  bool
	empty   bool // no payload
	holding bool // the session holds the packet identifier for this item
	held    bool // durably so
	targets []target

	to  *subscriber // of a retained message for a new subscription: who asked; nil: who subscribes
	job retainedJob // what he asked for

	changed     bool             // the item has changed the retained message of its topic
	keeps, kept *retainedMessage // to this one, from that one
}

// target is one receiver of an item for an open topic.
type target struct {
	sub *subscriber
	manner
	seq uint64 // place in the receiver's queue, once known; zero in memory
}

// stores tells whether accepting the item changes the store.
func (of *openItem) stores() bool {
	if of.retain || of.holding {
		return true
	}
	for i := range of.targets {
		if of.targets[i].stored() {
			return true
		}
	}
	return false
}

// stored tells whether the target's queue is in the store, and the delivery goes
// through it.
func (t *target) stored() bool { return t.sub.durable && t.qos > 0 }

// readOpen takes a publish on an open topic into an item. The record that
// receivers and queues share is made here, once.
func (t *Turn) readOpen(it *item, a *topics.Access, p *Publish) *Refusal {
	it.kind, it.open = kindOpen, t.e.open.items.Get().(*openItem)
	it.open.retain, it.open.empty = p.Retain, len(p.Payload) == 0
	if !a.MayPublish(p.Topic) {
		return refuseAccess
	}
	if len(p.Payload) > t.e.cfg.BodyLimit {
		return refuseTooLarge
	}
	off := len(t.data)
	t.data = appendOpen(t.data, p.Topic, p.Props, p.Payload)
	it.body = span{uint32(off), uint32(len(t.data) - off)}
	it.ttl = p.Expiry
	return nil
}

// match finds the receivers of an item, and makes it the retained message of its
// topic if it is to be.
func (c *committer) match(b *batch, it *item) {
	o, of := c.e.open, it.open
	it.time = time.Now().UnixMilli()
	if of.to != nil {
		if o.stillAsked(of.to, of.job.m) {
			of.targets = append(of.targets, target{sub: of.to, manner: of.job.manner})
		}
		return
	}
	topic := b.bytes(it, it.topic)
	if of.retain {
		o.mu.Lock()
		defer o.mu.Unlock()
		if it.refusal = c.retain(b, it, topic); it.refusal != nil {
			return
		}
	} else {
		o.mu.RLock()
		defer o.mu.RUnlock()
	}
	if len(c.seen) > maxIdleTargets {
		c.seen = make(map[*subscriber]int)
	}
	clear(c.seen)
	o.filters.Match(topic, func(sub *subscriber, w openWant) {
		if !(w.noLocal && it.publisher(sub)) && c.mayRead(sub, topic) {
			c.addTarget(of, sub, it.mannerOf(w))
		}
	})
	o.shared.Match(topic, func(sh *share, _ struct{}) {
		if m := sh.choose(it.qos, func(s *subscriber) bool { return c.mayRead(s, topic) }); m != nil {
			of.targets = append(of.targets, target{sub: m.s, manner: it.mannerOf(m.w)})
		}
	})
}

// mayRead tells whether a subscriber may see what is published on a topic that
// one of its filters matches.
func (c *committer) mayRead(s *subscriber, topic []byte) bool {
	return !s.shut.Load() && s.access.mayRead(topic) && c.e.open.names(&s.id).Has(topic)
}

// fewTargets is up to how many receivers are looked through one by one.
const fewTargets = 16

// addTarget adds a receiver, or merges one more of its filters into its delivery: one
// delivery, at the highest QoS, with every identifier [MQTT-3.3.4-2, MQTT-3.3.4-3].
func (c *committer) addTarget(of *openItem, sub *subscriber, m manner) {
	n := len(of.targets)
	at := slices.IndexFunc(of.targets[:min(n, fewTargets)], func(t target) bool { return t.sub == sub })
	if i, there := c.seen[sub]; at < 0 && there {
		at = i
	}
	if at >= 0 {
		t := &of.targets[at]
		t.qos, t.retain, t.ids = max(t.qos, m.qos), t.retain || m.retain, append(t.ids, m.ids...)
		return
	}
	if n >= fewTargets {
		c.seen[sub] = n
	}
	of.targets = append(of.targets, target{sub: sub, manner: m})
}

// giveBack returns what an item of a batch that is done with has had.
func (o *openTopics) giveBack(of *openItem) {
	clear(of.targets)
	targets := of.targets[:0]
	if cap(targets) > maxIdleTargets {
		targets = nil
	}
	*of = openItem{targets: targets}
	o.items.Put(of)
}

const maxIdleTargets = 1024

func (it *item) mannerOf(w openWant) manner {
	m := manner{qos: min(it.qos, w.qos), retain: it.open.retain && w.asPublished}
	if w.id != 0 {
		m.ids = []uint32{w.id}
	}
	return m
}

// publisher tells whether the item was published by this very subscriber, be it on
// an earlier connection.
func (it *item) publisher(sub *subscriber) bool {
	from := it.post
	switch {
	case it.s == nil:
		return from.from.Device != 0 && from.from.Device == sub.id.Actor.Device
	case it.s.device() != 0:
		return it.s.device() == sub.id.Actor.Device
	default:
		return it.s == sub.live.Load()
	}
}

// choose returns the member whose turn it is: one that is connected, or else one
// that has a queue.
func (sh *share) choose(qos byte, may func(*subscriber) bool) *shareMember {
	var absent *shareMember
	n := len(sh.members)
	for i := range n {
		m := &sh.members[(sh.next+i)%n]
		switch {
		case !may(m.s):
		case m.s.live.Load() != nil:
			sh.next = (sh.next + i + 1) % n
			return m
		case absent == nil && m.s.durable && min(qos, m.w.qos) > 0:
			absent = m
		}
	}
	if n > 0 {
		sh.next = (sh.next + 1) % n
	}
	return absent
}

// retain makes the item the retained message of its topic. The lock is held.
func (c *committer) retain(b *batch, it *item, topic []byte) *Refusal {
	o, name := c.e.open, string(topic)
	var m *retainedMessage
	if !it.open.empty { // an empty payload removes [MQTT-3.3.1-6]
		record := b.bytes(it, it.body)
		m = &retainedMessage{record: append([]byte(nil), record...), qos: it.qos, size: len(record)}
		m.expires = it.expires()
		if !o.fitsLocked(topic, m) {
			for _, over := range o.lookForExpiredLocked(it.time) {
				o.retainLocked(over, nil)
				b.entries.Retained = append(b.entries.Retained, storage.Retained{Topic: over})
			}
			if !o.fitsLocked(topic, m) {
				return refuseRetained
			}
		}
	}
	it.open.changed, it.open.keeps, it.open.kept = true, m, o.retainLocked(name, m)
	return nil
}

// unretain takes back what the items of a batch that are not accepted have done to
// retained messages, the last one first. What a later item has put there that is
// accepted stays.
func (c *committer) unretain(b *batch) {
	o := c.e.open
	o.mu.Lock()
	defer o.mu.Unlock()
	settled := make(map[string]bool)
	items := b.part()
	for i := range slices.Backward(items) {
		it := &items[i]
		if it.kind != kindOpen || !it.open.changed {
			continue
		}
		topic := string(b.bytes(it, it.topic))
		switch of := it.open; {
		case settled[topic]:
		case !it.undone():
			settled[topic] = true
		default:
			o.retainLocked(topic, of.kept)
			of.changed = false
		}
	}
}

// undone tells whether the item's retained message must not be: the item is not
// accepted, or repeats one that was.
func (it *item) undone() bool { return it.dropped || it.refusal != nil || !it.open.retain }

// maxTargets is how many receivers the items of one part have, but for the last of
// them.
const maxTargets = 32 << 10

// matchSome finds the receivers of items, and returns how many items make a part.
func (c *committer) matchSome(b *batch, todo []int32) int {
	found := 0
	for n, i := range todo {
		it := &b.items[i]
		if it.kind != kindOpen {
			continue
		}
		if found >= maxTargets {
			return n
		}
		c.match(b, it)
		found += len(it.open.targets)
	}
	return len(todo)
}

// resolveQueues reads the heads and cursors of the queues that the items go to,
// where they are not known.
func (c *committer) resolveQueues(ctx context.Context, b *batch, todo []int32) error {
	c.e.open.round++
	for _, i := range todo {
		it := &b.items[i]
		if it.needsSteps() {
			if err := c.resolveSteps(ctx, it.s); err != nil {
				return err
			}
		}
		if it.kind != kindOpen || it.refusal != nil {
			continue
		}
		for k := range it.open.targets {
			t := &it.open.targets[k]
			if t.stored() && !t.sub.known {
				if err := c.readQueue(ctx, t.sub); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (c *committer) readQueue(ctx context.Context, sub *subscriber) error {
	id := sub.queue()
	infos, err := c.e.store.Chats(ctx, []chat.ID{id})
	if err != nil {
		return err
	}
	cursors, err := c.e.store.Cursors(ctx, id, sub.id.Actor.User, []chat.DeviceID{sub.id.Actor.Device})
	if err != nil {
		return err
	}
	sub.head, sub.known = infos[0].Head, true
	raise(&sub.acked, cursors[0])
	if sub.fresh && sub.start.CompareAndSwap(0, sub.head+1) {
		raise(&sub.acked, sub.head)
		raise(&sub.passed, sub.head)
	}
	raise(&sub.passed, cursors[0])
	return nil
}

// prepareOpen adds the entries of an item to the storage batch: one for each queue
// that it goes to.
func (c *committer) prepareOpen(b *batch, i int32) {
	it := &b.items[i]
	of := it.open
	if it.qos == 2 && it.s != nil && !of.holding {
		if r, held := it.s.heldFor(it.pid); held {
			it.dropped = r.Seq == 0 && !r.Open // the first one will be answered
			of.targets, of.retain = nil, false
			return
		}
	}
	// In front of the step that says that the publish was taken.
	if c.e.open.cfg.Refuse && !of.held && c.overfull(it) {
		it.refusal = refuseQueueFull
		return
	}
	if it.qos == 2 && it.s != nil && !of.holding {
		of.holding = true
		it.s.hold(it.pid, sentRow{})
	}
	if of.holding && !of.held && it.s.lasting() {
		c.addStep(b, i, stepHeld)
	}
	if of.retain {
		r := storage.Retained{Topic: string(b.bytes(it, it.topic))}
		if of.keeps != nil {
			r.Body = of.keeps.append(nil)
		}
		b.entries.Retained = append(b.entries.Retained, r)
	}
	for k := range of.targets {
		t := &of.targets[k]
		if !t.stored() || t.seq != 0 {
			continue
		}
		t.sub.added = c.added(t.sub) + 1
		b.index, b.targets = append(b.index, i), append(b.targets, t)
		b.entries.Entries = append(b.entries.Entries, storage.Entry{After: t.sub.head})
		m := &b.entries.Entries[len(b.entries.Entries)-1].Message
		m.Chat, m.Type, m.Time, m.From = t.sub.queue(), typeOpen, it.time, it.from()
		m.Body = b.bytes(it, it.body)
		at := len(b.data)
		b.data = t.manner.append(b.data, it.expires())
		m.Re = b.data[at:len(b.data):len(b.data)]
	}
}

// expires returns when the item's message ends, in Unix milliseconds; 0: never.
func (it *item) expires() int64 {
	if it.ttl == 0 {
		return 0
	}
	return it.time + int64(it.ttl)*1000
}

// typeOpen is the type of a queue's entries. Re of such an entry is the record of
// its manner, Body that of the open message.
const typeOpen = "open"

// overfull tells whether a queue that the item goes to has no room.
func (c *committer) overfull(it *item) bool {
	if it.open.to != nil { // bounded by who sends them
		return false
	}
	for i := range it.open.targets {
		t := &it.open.targets[i]
		if t.stored() && t.sub.head+c.added(t.sub)-min(t.sub.head, t.sub.passed.Load()) >= uint64(c.e.open.cfg.Queue) {
			c.e.stats.QueueRefused.Add(1)
			return true
		}
	}
	return false
}

// added returns how many entries the present append has for a queue.
func (c *committer) added(sub *subscriber) uint64 {
	if sub.round != c.e.open.round {
		sub.round, sub.added = c.e.open.round, 0
	}
	return sub.added
}

// settleBeside takes the result of an entry that is not of a chat, and tells whether
// it has to be appended again.
func (c *committer) settleBeside(it *item, t *target, e *storage.Entry) (again bool) {
	if t != nil {
		return c.settleOpen(t, &e.Result)
	}
	again = c.settleStep(it, &e.Message, &e.Result)
	if it.kind == kindOpen {
		it.open.held = !again
	} else {
		it.on = again
	}
	return again
}

// unknown has the heads read again that an item was appended behind.
func (c *committer) unknown(it *item) {
	if it.s != nil {
		it.s.steps.known = false
	}
	if it.kind == kindOpen {
		for i := range it.open.targets {
			it.open.targets[i].sub.known = false
		}
	}
}

// settleOpen takes the result of one entry over into its target, and tells whether
// it has to be appended again.
func (c *committer) settleOpen(t *target, r *storage.Result) (again bool) {
	if r.Outcome != storage.Stored {
		t.sub.known = false
		return true
	}
	t.seq = r.Seq
	t.sub.head = max(t.sub.head, r.Seq)
	c.e.stats.Queued.Add(1)
	if limit := uint64(c.e.open.cfg.Queue); !c.e.open.cfg.Refuse && r.Seq > limit {
		if over := r.Seq - limit; over > max(t.sub.passed.Load(), t.sub.dropped.Load()) {
			c.e.stats.QueueDropped.Add(1)
			raise(&t.sub.dropped, over)
			if over >= t.sub.trimmed.Load()+trimStep {
				c.e.flusher.trimLater(t.sub)
			}
		}
	}
	return false
}

// finishOpen notes what has become of the items for open topics.
func (c *committer) finishOpen(b *batch) {
	undo := false
	items := b.part()
	for i := range items {
		it := &items[i]
		if it.kind != kindOpen {
			continue
		}
		undo = undo || it.open.changed && it.undone()
		switch {
		case it.dropped || it.refusal != nil:
			it.open.targets = nil
		case it.open.holding:
			it.s.hold(it.pid, sentRow{PacketID: it.pid, Time: it.time, Open: true})
		}
	}
	if undo {
		c.unretain(b)
	}
}

// selects tells whether a filter is one of open topics for that identity.
func (o *openTopics) selects(id *Identity, filter string) bool {
	if _, rest, ok := topics.ParseShared(filter); ok {
		filter = rest
	}
	return topics.ValidFilter(filter) && o.names(id).Overlaps(filter)
}
