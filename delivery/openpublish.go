package delivery

import (
	"context"

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
