package delivery

import (
	"context"
	"time"

	"tidings/chat"
	"tidings/storage"
)

// committer is the one goroutine that appends. It owns the ledger and, between
// taking a batch and handing it to the router, the batch.
type committer struct {
	e      *Engine
	ledger *ledger

	wantUsers  []string // scratch of resolve
	wantGroups []string
	wantChats  []chat.ID
	todo       []int32             // items to be decided
	moved      []int32             // and those of them that are to be appended again
	seen       map[*subscriber]int // receivers of an item behind the first few

	failures uint64 // appends that have failed since one has not
	poisoned bool   // this batch has an item of unknown outcome
}

// maxClaims bounds how often entries are appended again because another node was
// faster; then the senders are told to come back.
const maxClaims = 8

func newCommitter(e *Engine) *committer {
	return &committer{e: e, ledger: newLedger(e), seen: make(map[*subscriber]int)}
}

// run commits until the intake is closed and empty, then closes the router's
// queue.
func (c *committer) run() {
	defer close(c.e.router.in)
	defer c.ledger.stop()
	for {
		b := c.e.intake.take()
		if b == nil {
			return
		}
		c.ledger.begin()
		if len(b.items) == 0 {
			c.e.intake.giveBack(b)
			continue
		}
		c.commit(b)
		c.e.stats.Batches.Add(1)
	}
}

// commit decides every item of the batch, makes durable what is to be, and hands
// the batch to the router. Usually that is one step. Publishes on open topics with
// many receivers can make more entries than memory has room for; then it is done
// part by part, each routed before the next is begun.
func (c *committer) commit(b *batch) {
	c.poisoned = false
	now := time.Now().UnixMilli()
	for rest := c.allOf(b); ; {
		n := c.matchSome(b, rest)
		b.from, b.to = b.to, len(b.items)
		if n < len(rest) {
			b.to = int(rest[n])
		}
		c.decide(b, rest[:n:n], now)
		c.finishOpen(b)
		if c.poisoned {
			c.dropBehind(b)
		}
		last := b.to == len(b.items)
		c.e.router.in <- b
		if last { // it is the router's now
			return
		}
		<-c.e.router.routed
		rest = rest[n:]
	}
}

// decide decides some items of the batch.
func (c *committer) decide(b *batch, todo []int32, now int64) {
	ctx := c.e.ctx
	for range maxClaims {
		if len(todo) == 0 {
			return
		}
		if err := c.resolve(ctx, b, todo); err != nil {
			c.e.log.Error("cannot read what a batch needs", "err", err)
			c.refuse(b, todo, refuseUnavailable)
			return
		}
		c.prepare(ctx, b, todo, now)
		if len(b.entries.Entries) == 0 && len(b.entries.Advances) == 0 && len(b.entries.Retained) == 0 {
			return
		}
		b.number = c.e.progress.appending.Add(1)
		if err := c.e.store.Append(ctx, &b.entries); err != nil {
			c.failed(b, todo, err)
			return
		}
		c.failures = 0
		todo = append(todo[:0], c.settle(b)...)
	}
	c.refuse(b, todo, refuseUnavailable)
}

// allOf lists the items that are still to be decided.
func (c *committer) allOf(b *batch) []int32 {
	b.index = b.index[:0]
	todo := c.todo[:0]
	for i := range b.items {
		it := &b.items[i]
		if it.s != nil && it.s.poisoned {
			it.dropped = true
		}
		if it.s != nil && it.s.barred.Load() && it.refusal == nil && it.kind != kindReceived && it.kind != kindReleased {
			it.refusal = refuseNotAllowed
		}
		if it.kind.decided() && it.refusal == nil && !it.dropped {
			todo = append(todo, int32(i))
		}
	}
	c.todo = todo
	return todo
}

// prepare authorises the items and builds the storage batch.
func (c *committer) prepare(ctx context.Context, b *batch, todo []int32, now int64) {
	b.entries.Entries, b.entries.Advances = b.entries.Entries[:0], b.entries.Advances[:0]
	b.index, b.targets = b.index[:0], b.targets[:0]
	for _, i := range todo {
		it := &b.items[i]
		if it.refusal != nil {
			continue
		}
		if it.time = now; it.kind == kindEntry {
			c.prepareEntry(b, i)
			continue
		}
		if it.s != nil && it.s.poisoned { // by an item in front of it
			it.dropped = true
			continue
		}
		switch it.kind {
		case kindOpen:
			c.prepareOpen(b, i)
			continue
		case kindReceived, kindReleased:
			c.prepareStep(b, i)
			continue
		}
		if it.kind == kindMessage && it.s != nil && it.qos > 0 && c.repeated(ctx, b, it) {
			continue
		}
		if it.doubt == nil {
			it.doubt = it.ledger.allows(it.kind, it.from())
		}
		if it.doubt != nil {
			c.prepareRefusal(b, i)
			continue
		}
		switch it.kind {
		case kindMessage:
			c.prepareMessage(b, i)
		case kindRead:
			c.prepareRead(b, it)
		case kindTyping:
			it.seq = it.ledger.head + 1
		}
	}
}

// repeated answers a publish that was stored before. That comes in front of
// authorisation: a refusal would say that it is not stored.
func (c *committer) repeated(ctx context.Context, b *batch, it *item) bool {
	found, err := c.e.firstSend(ctx, b, it)
	if err != nil {
		c.e.log.Error("cannot look for the first send of a repeated publish", "err", err)
		c.poison(it)
	}
	return found || err != nil
}

func (c *committer) prepareMessage(b *batch, i int32) {
	it := &b.items[i]
	if it.id == (chat.MessageID{}) {
		it.id = chat.NewMessageID(it.time)
	}
	if it.qos == 2 && it.s != nil {
		it.s.hold(it.pid, sentRow{})
	}
	m := c.add(b, i, nil)
	m.Type = it.typ
	m.CID, m.Re, m.Mentions, m.Body = b.bytes(it, it.cid), b.bytes(it, it.re), b.bytes(it, it.mentions), b.bytes(it, it.body)
	m.From = it.from()
	if it.ttl > 0 {
		m.Expires = it.time + int64(it.ttl)*1000
	}
	switch {
	case it.s != nil:
		m.Device, m.Epoch, m.PacketID = it.s.id.Actor.Device, it.s.epoch, it.pid
	case it.post != nil:
		m.Device = it.post.from.Device
	}
}

// add appends an entry for item i and returns its message to be filled in.
func (c *committer) add(b *batch, i int32, changes []storage.MemberChange) *chat.Message {
	it := &b.items[i]
	b.index, b.targets = append(b.index, i), append(b.targets, nil)
	b.entries.Entries = append(b.entries.Entries, storage.Entry{After: it.ledger.head, Members: changes})
	m := &b.entries.Entries[len(b.entries.Entries)-1].Message
	m.Chat, m.ID, m.Time = it.ledger.id, it.id, it.time
	return m
}

// prepareEntry lets an operation decide, at this very place of the log, whether
// its entry may be and what it says.
func (c *committer) prepareEntry(b *batch, i int32) {
	it := &b.items[i]
	if it.refusal = it.ledger.broken; it.refusal != nil {
		return
	}
	entry, refusal := it.post.decide(it.ledger)
	if refusal != nil {
		it.refusal = refusal
		return
	}
	if entry == nil { // nothing to do
		return
	}
	if it.id == (chat.MessageID{}) {
		it.id = chat.NewMessageID(it.time)
	}
	it.changes = entry.changes
	it.ledger.apply(entry.changes)
	m := c.add(b, i, entry.changes)
	m.Type, m.Body, m.From, m.Device = entry.typ, entry.body, it.post.from.User, entry.device
}

func (c *committer) prepareRead(b *batch, it *item) {
	it.seq = min(it.seq, it.ledger.head)
	if it.seq == 0 {
		return
	}
	b.entries.Advances = append(b.entries.Advances, storage.Advance{
		Chat: it.ledger.id, User: it.from(), Delivered: it.seq, Read: it.seq,
	})
}

// settle takes the results of an append over into the items and returns those
// that must be tried again.
func (c *committer) settle(b *batch) []int32 {
	again := c.moved[:0]
	for n, i := range b.index {
		it, r := &b.items[i], &b.entries.Entries[n].Result
		if t := b.targets[n]; t != nil || !it.kind.needsChat() {
			if c.settleBeside(it, t, &b.entries.Entries[n]) && (len(again) == 0 || again[len(again)-1] != i) {
				again = append(again, i)
			}
			continue
		}
		switch r.Outcome {
		case storage.Stored:
			c.e.stats.Stored.Add(1)
			it.seq, it.msg = r.Seq, &b.entries.Entries[n].Message
			it.ledger.head = max(it.ledger.head, r.Seq)
		case storage.Duplicate:
			c.e.stats.Duplicates.Add(1)
			it.seq, it.id, it.time = r.Seq, r.ID, r.Time
		case storage.Mismatch:
			it.refusal = refuseConflict
		case storage.Absent:
			it.refusal = it.doubt
		case storage.Moved:
			c.ledger.drop(it.ledger.id)
			again = append(again, i)
		default:
			c.e.log.Error("the store has given no outcome for an entry", "chat", it.ledger.id.String())
			it.refusal = refuseInternal
		}
		if it.qos == 2 && it.s != nil && it.refusal == nil && r.Outcome != storage.Moved {
			it.s.hold(it.pid, sentRow{PacketID: it.pid, Chat: it.ledger.id, Seq: it.seq, Time: it.time})
		}
	}
	c.moved = again
	if len(again) > 0 { // the messages stored so far stay where the items point
		b.entries.Entries = nil
	}
	return again
}
