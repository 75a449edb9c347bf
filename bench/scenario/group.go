package scenario

import (
	"context"
	"sync/atomic"
)

// runGroup: a few members post to one group, all others receive. Senders do not subscribe, so that every target makes
// exactly cfg.Users deliveries a post.
func runGroup(ctx context.Context, b *bench) error {
	f, err := b.newFleet(ctx, "member", b.cfg.Users+b.cfg.Senders)
	if err != nil {
		return err
	}
	defer f.disconnectAll(f.members)
	senders, receivers := f.members[:b.cfg.Senders], f.members[b.cfg.Senders:]
	const name = "bench"
	logins := b.loginsOf(f.members)
	if err := b.target.Group(ctx, name, logins); err != nil {
		return err
	}
	if err := f.connectAll(ctx, receivers, "g/"+name); err != nil {
		return err
	}
	for _, m := range senders {
		m.topics = []string{"g/" + name}
		m.fanOut = int32(b.cfg.Users)
		m.reached = make([]atomic.Int32, ring)
	}
	if err := each(senders, func(m *member) error { return m.connect(ctx, b) }); err != nil {
		return err
	}
	b.note("group of %d receivers and %d senders", len(receivers), len(senders))
	fanOut := int64(len(receivers))
	if err := f.phases(ctx, senders, fanOut); err != nil {
		return err
	}
	b.add("rss", "MiB", b.rss()/mib)
	f.addFaults(fanOut)
	return nil
}
