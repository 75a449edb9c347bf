package delivery

import (
	"context"

	"tidings/chat"
	"tidings/storage"
)

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
	id := chat.QueueChat(d.Actor.Device)
	infos, err := o.e.store.Chats(ctx, []chat.ID{id})
	if err != nil {
		return err
	}
	return o.giveUp(ctx, d, infos[0].Head)
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
