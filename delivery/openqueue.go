package delivery

import (
	"context"
	"slices"

	"tidings/chat"
	"tidings/storage"
)

// The queue of a persistent session is a log, chat.QueueChat of its device. What is
// up to the device's cursor there is acknowledged and goes; what is between the
// cursor and the head waits, and that has a limit: OpenTopics.Queue. The committer
// counts and refuses or gives up; the flusher trims.

// queueEnds reads where a device's queue ends, and where the device is in it.
func (e *Engine) queueEnds(ctx context.Context, d *Identity) (head, cursor uint64, err error) {
	id := chat.QueueChat(d.Actor.Device)
	infos, err := e.store.Chats(ctx, []chat.ID{id})
	if err != nil {
		return 0, 0, err
	}
	cursors, err := e.store.Cursors(ctx, id, d.Actor.User, []chat.DeviceID{d.Actor.Device})
	if err != nil {
		return 0, 0, err
	}
	return infos[0].Head, cursors[0], nil
}

// readQueue reads the head and the cursor of a subscriber's queue for the committer.

func (c *committer) readQueue(ctx context.Context, sub *subscriber) error {
	head, cursor, err := c.e.queueEnds(ctx, &sub.id)
	if err != nil {
		return err
	}
	sub.head, sub.known = head, true
	raise(&sub.acked, cursor)
	if sub.fresh && sub.start.CompareAndSwap(0, sub.head+1) {
		raise(&sub.acked, sub.head)
		raise(&sub.passed, sub.head)
	}
	raise(&sub.passed, cursor)
	return nil
}

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

// queueTail returns where a device is in its queue.
func (e *Engine) queueTail(ctx context.Context, s *Session) (storage.Tail, error) {
	t := storage.Tail{Chat: chat.QueueChat(s.device())}
	var err error
	if t.Head, t.Cursor, err = e.queueEnds(ctx, &s.id); err != nil {
		return t, err
	}
	switch start := s.open.start.Load(); { // looked at behind the head: it is set before anything is appended
	case start > 0:
		t.Cursor = max(t.Cursor, start-1)
	case s.open.fresh:
		t.Cursor = t.Head // all of it is of a session before
	}
	if limit := uint64(e.open.cfg.Queue); !e.open.cfg.Refuse && t.Head > limit { // the rest has been given up, maybe before a restart
		raise(&s.open.dropped, t.Head-limit)
	}
	return t, nil
}

// giveUpLocked passes over what the queue has given up. What the device has received
// of that before a crash is completed: it keeps the packet identifiers until PUBREL,
// and would take the messages that get them next for repetitions.
func (s *Session) giveUpLocked(p *position, to uint64) {
	var had []uint64
	for seq := range s.received {
		if seq > p.sent && seq <= to {
			had = append(had, seq)
		}
	}
	slices.Sort(had)
	for _, seq := range had {
		if !s.queue.takes(seq) || s.link.Release(s.queue.nextTag(seq)) != Delivered {
			break // the connection has ended, or there are more than a window has
		}
		s.queue.push(slot{p: p, seq: seq, step: awaitsPubcomp})
		s.out++
		p.out++
		p.sent = seq
	}
	s.passLocked(p, to, false)
}

// purgeOf gives up what waits in the queue of a forgotten subscriber.
func (o *openTopics) purgeOf(ctx context.Context, sub *subscriber) {
	if err := o.purge(ctx, &sub.id); err != nil {
		o.e.log.Error("cannot empty the queue of a session that has ended", "err", err, "device", uint64(sub.id.Actor.Device))
	}
}

// trimStep is how many acknowledged entries a queue keeps until they are removed
// together.
const trimStep = 256

// saved notes that a queue's cursor is in the store, and removes what lies behind
// it. It runs on the flusher.
func (o *openTopics) saved(ctx context.Context, sub *subscriber, cursor uint64) {
	raise(&sub.acked, cursor)
	o.trim(ctx, sub, cursor)
}

// trim removes the entries of a queue up to a seq, if there are enough of them.
func (o *openTopics) trim(ctx context.Context, sub *subscriber, to uint64) {
	if to < sub.trimmed.Load()+trimStep {
		return
	}
	if err := o.e.store.Trim(ctx, storage.Trim{Chat: sub.queue(), Forget: to}); err != nil {
		o.e.log.Error("cannot trim a queue; trying again", "err", err, "device", uint64(sub.id.Actor.Device))
		return
	}
	raise(&sub.trimmed, to)
}

// purge gives up what waits in a subscriber's queue.
func (o *openTopics) purge(ctx context.Context, d *Identity) error {
	head, _, err := o.e.queueEnds(ctx, d)
	if err != nil {
		return err
	}
	return o.giveUp(ctx, d, head)
}

// giveUp gives up the entries of a device's queue up to a seq.
func (o *openTopics) giveUp(ctx context.Context, d *Identity, to uint64) error {
	if to == 0 {
		return nil
	}
	id := chat.QueueChat(d.Actor.Device)
	if err := o.e.store.Advance(ctx, []storage.Advance{{Chat: id, User: d.Actor.User, Device: d.Actor.Device, Cursor: to}}); err != nil {
		return err
	}
	return o.e.store.Trim(ctx, storage.Trim{Chat: id, Forget: to})
}
