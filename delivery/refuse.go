package delivery

import (
	"errors"

	"tidings/storage"
)

// failed answers a batch whose append has failed. Where surely nothing was
// stored the senders are told; otherwise their connections end without an
// answer, and whatever they have queued behind goes with them: they will send
// again, and idempotence answers.
func (c *committer) failed(b *batch, todo []int32, err error) {
	if c.failures++; c.failures&(c.failures-1) == 0 { // senders come again: the 1st, 2nd, 4th … in a row is logged
		c.e.log.Error("append failed", "err", err, "entries", len(b.entries.Entries), "count", c.failures)
	}
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
		case it.kind == kindReceived || it.kind == kindReleased:
			if refusal != refuseFull {
				c.poison(it)
				continue
			}
			c.prepareStep(b, i) // again without the rest: a full store takes these
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
// before: a refusal would say that they are not. With them it appends the steps of
// QoS 2 exchanges; none is answered that is not durable.
func (c *committer) settleDoubts(b *batch) {
	b.entries.Advances = b.entries.Advances[:0]
	if err := c.e.store.Append(c.e.ctx, &b.entries); err != nil {
		if c.failures&(c.failures-1) == 0 {
			c.e.log.Error("cannot look for the first sends of refused publishes", "err", err)
		}
		for _, i := range b.index {
			c.poison(&b.items[i])
		}
		return
	}
	for _, i := range c.settle(b) {
		c.poison(&b.items[i])
	}
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
	items := b.part()
	for i := range items {
		if it := &items[i]; it.s != nil && it.s.poisoned {
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
