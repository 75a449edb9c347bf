package delivery

import (
	"context"
	"errors"
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

	poisoned bool // this batch has an item of unknown outcome
}

// maxClaims bounds how often entries are appended again because another node was
// faster; then the senders are told to come back.
const maxClaims = 8

func newCommitter(e *Engine) *committer {
	return &committer{e: e, ledger: newLedger(e)}
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
		c.e.router.in <- b
	}
}

// commit decides every item of the batch and makes durable what is to be.
func (c *committer) commit(b *batch) {
	c.poisoned = false
	c.decide(b)
	if c.poisoned {
		c.dropBehind(b)
	}
}

func (c *committer) decide(b *batch) {
	ctx := c.e.ctx
	now := time.Now().UnixMilli()
	todo := c.allOf(b)
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
			c.finishOpen(b, todo)
			return
		}
		b.number = c.e.progress.appending.Add(1)
		if err := c.e.store.Append(ctx, &b.entries); err != nil {
			c.failed(b, todo, err)
			c.finishOpen(b, todo)
			return
		}
		again := c.settle(b)
		c.finishOpen(b, todo)
		todo = again
	}
	c.refuse(b, todo, refuseUnavailable)
}

// allOf lists the items that are still to be decided.
func (c *committer) allOf(b *batch) []int32 {
	b.index = b.index[:0]
	todo := make([]int32, 0, 64) // usually stays on the stack
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
	return todo
}

// resolve finds the chat of each item, reading names and chats that are not in
// memory with one call each.
func (c *committer) resolve(ctx context.Context, b *batch, todo []int32) error {
	b.entries.Retained = b.entries.Retained[:0]
	if err := c.resolveQueues(ctx, b, todo); err != nil {
		return err
	}
	for {
		c.wantUsers, c.wantGroups, c.wantChats = c.wantUsers[:0], c.wantGroups[:0], c.wantChats[:0]
		for _, i := range todo {
			if it := &b.items[i]; it.kind.needsChat() && (it.ledger == nil || it.ledger.gone) {
				c.find(b, it)
			}
		}
		if len(c.wantUsers)+len(c.wantGroups)+len(c.wantChats) == 0 {
			return nil
		}
		if err := c.read(ctx, b, todo); err != nil {
			return err
		}
	}
}

// find looks for an item's chat in memory and notes what is missing.
func (c *committer) find(b *batch, it *item) {
	it.ledger = nil
	if it.refusal != nil {
		return
	}
	id, known := c.chatOf(b, it)
	if !known {
		return
	}
	if it.ledger = c.ledger.get(id); it.ledger == nil {
		c.wantChats = append(c.wantChats, id)
		return
	}
	if it.s != nil {
		it.s.lastChat, it.s.lastGroup = it.ledger, it.group
		it.s.lastName = append(it.s.lastName[:0], b.bytes(it, it.name)...)
	}
}

// chatOf names the chat that an item is for; known is false while a name has to
// be read first, or when the item has been refused because there is none.
func (c *committer) chatOf(b *batch, it *item) (id chat.ID, known bool) {
	if it.post != nil && it.post.chat != (chat.ID{}) {
		return it.post.chat, true
	}
	name := b.bytes(it, it.name)
	if s := it.s; s != nil && s.lastChat != nil && !s.lastChat.gone && s.lastGroup == it.group && string(s.lastName) == string(name) {
		return s.lastChat.id, true
	}
	if it.group {
		g := c.e.groups.cachedName(name)
		if g == nil {
			c.wantGroups = append(c.wantGroups, string(name))
			return chat.ID{}, false
		}
		return chat.GroupChat(g.ID), true
	}
	u := c.e.accounts.cachedName(name)
	if u == nil {
		c.wantUsers = append(c.wantUsers, string(name))
		return chat.ID{}, false
	}
	return chat.DirectChat(it.from(), u.ID), true
}

// read asks the store for what find has missed. Items that name nobody are
// refused: whether somebody exists and whether he may be written to look alike.
func (c *committer) read(ctx context.Context, b *batch, todo []int32) error {
	unknown := make(map[string]bool)
	if len(c.wantUsers) > 0 {
		us, err := c.e.accounts.named(ctx, c.wantUsers)
		if err != nil {
			return err
		}
		for i, u := range us {
			if u == nil {
				unknown["u/"+c.wantUsers[i]] = true
			}
		}
	}
	if len(c.wantGroups) > 0 {
		gs, err := c.e.groups.named(ctx, c.wantGroups)
		if err != nil {
			return err
		}
		for i, g := range gs {
			if g == nil {
				unknown["g/"+c.wantGroups[i]] = true
			}
		}
	}
	if len(unknown) > 0 {
		for _, i := range todo {
			it := &b.items[i]
			prefix := "u/"
			if it.group {
				prefix = "g/"
			}
			if it.ledger == nil && unknown[prefix+string(b.bytes(it, it.name))] {
				it.refusal = refuseNotAllowed
			}
		}
	}
	if len(c.wantChats) == 0 {
		return nil
	}
	return c.ledger.read(ctx, unique(c.wantChats))
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
func (c *committer) settle(b *batch) (again []int32) {
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
	if len(again) > 0 { // the messages stored so far stay where the items point
		b.entries.Entries = nil
	}
	return again
}

// failed answers a batch whose append has failed. Where surely nothing was
// stored the senders are told; otherwise their connections end without an
// answer, and whatever they have queued behind goes with them: they will send
// again, and idempotence answers.
func (c *committer) failed(b *batch, todo []int32, err error) {
	c.e.log.Error("append failed", "err", err, "entries", len(b.entries.Entries))
	for i := range b.entries.Entries {
		if it := &b.items[b.index[i]]; !it.kind.needsChat() {
			c.unknown(it)
			continue
		}
		c.ledger.drop(b.entries.Entries[i].Message.Chat)
	}
	var refusal *Refusal
	switch {
	case errors.Is(err, storage.ErrFull):
		refusal = refuseFull
	case errors.Is(err, storage.ErrReadOnly):
		refusal = refuseUnavailable
	}
	b.entries.Entries, b.index, b.targets = nil, b.index[:0], b.targets[:0] // items may point to messages of an earlier claim
	for _, i := range todo {
		it := &b.items[i]
		switch {
		case it.refusal != nil || it.dropped || it.seq != 0 && it.kind == kindMessage: // decided
		case it.kind == kindTyping || it.kind == kindOpen && !it.open.stores(): // nothing of it was to be stored
		case refusal != nil && (it.kind == kindReceived || it.kind == kindReleased): // better not durable than stuck
		case refusal != nil && it.kind == kindMessage && it.cid.n > 0:
			it.doubt = refusal
			c.prepareRefusal(b, i)
		case refusal != nil:
			c.turnDown(it, refusal)
		default:
			c.poison(it)
		}
	}
	if len(b.index) > 0 {
		c.settleDoubts(b)
	}
}

// settleDoubts finds out which of the publishes that are to be refused were stored
// before: a refusal would say that they are not.
func (c *committer) settleDoubts(b *batch) {
	b.entries.Advances = b.entries.Advances[:0]
	if err := c.e.store.Append(c.e.ctx, &b.entries); err != nil {
		c.e.log.Error("cannot look for the first sends of refused publishes", "err", err)
		for _, i := range b.index {
			c.poison(&b.items[i])
		}
		return
	}
	c.settle(b)
}

// prepareRefusal refuses an item for its doubt, unless it has a cid that may have
// been used before it came to be in doubt: then the store is asked.
func (c *committer) prepareRefusal(b *batch, i int32) {
	it := &b.items[i]
	if it.kind != kindMessage || it.cid.n == 0 {
		it.refusal = it.doubt
		return
	}
	c.prepareMessage(b, i)
	b.entries.Entries[len(b.entries.Entries)-1].Probe = true
}

// poison marks an item whose outcome nobody can know now: its connection ends
// without an answer to it or to anything behind it.
func (c *committer) poison(it *item) {
	it.dropped, c.poisoned = true, true
	if it.s != nil && !it.s.poisoned {
		it.s.poisoned = true
		it.s.link.Close(ReasonUnknownOutcome)
	}
}

// turnDown refuses an item because of the store. That cannot be said of a
// repetition: its first send may be stored.
func (c *committer) turnDown(it *item, r *Refusal) {
	if it.kind == kindMessage && it.dup && it.qos > 0 {
		c.poison(it)
		return
	}
	it.refusal = r
}

// dropBehind drops what connections have in this batch behind a publish of
// unknown outcome.
func (c *committer) dropBehind(b *batch) {
	for i := range b.items {
		if it := &b.items[i]; it.s != nil && it.s.poisoned {
			it.dropped = true
		}
	}
}

func (c *committer) refuse(b *batch, todo []int32, r *Refusal) {
	for _, i := range todo {
		if it := &b.items[i]; it.refusal == nil && !it.dropped {
			c.turnDown(it, r)
		}
	}
}

// unique returns ids without repetitions, reusing their memory.
func unique(ids []chat.ID) []chat.ID {
	seen := make(map[chat.ID]bool, len(ids))
	out := ids[:0]
	for _, id := range ids {
		if !seen[id] {
			seen[id] = true
			out = append(out, id)
		}
	}
	return out
}
