package scenario

import (
	"context"
	"fmt"
	"time"

	"tidings/bench/hist"
)

// runChats: what a device with many chats costs. Each of cfg.Users users has cfg.Chats chats, which all have been read.
// One of them gets a message while the device is away; how soon does the device have it when it comes back?
func runChats(ctx context.Context, b *bench) error {
	f, err := b.newFleet(ctx, "hub", b.cfg.Users+b.cfg.Chats)
	if err != nil {
		return err
	}
	defer f.disconnectAll(f.members)
	o := &offline{f, f.members[b.cfg.Users:], f.members[:b.cfg.Users]}
	for _, s := range o.senders {
		for _, m := range o.receivers {
			s.topics = append(s.topics, "u/"+m.login.User)
		}
	}
	if err := f.connectAll(ctx, o.receivers); err != nil {
		return err
	}
	if err := each(o.senders, func(m *member) error { return m.connect(ctx, b) }); err != nil {
		return err
	}
	if err := o.everyPair(ctx); err != nil {
		return err
	}
	b.note("%d users have %d chats each", b.cfg.Users, b.cfg.Chats)
	if err := b.calm(ctx); err != nil {
		return err
	}
	b.add("rss", "MiB", b.rss()/mib)
	f.disconnectAll(o.receivers)
	f.disconnectAll(o.senders[1:])
	if err := o.news(ctx, 1, o.senders[0]); err != nil {
		return err
	}
	return o.comeBack(ctx)
}

// everyPair has each sender write once to each receiver, and waits until all have arrived.
func (o *offline) everyPair(ctx context.Context) error {
	for at := 0; at < len(o.receivers); {
		n := min(o.b.cfg.Window, len(o.receivers)-at)
		for _, s := range o.senders {
			s.send(n)
		}
		at += n
		if err := o.settle(ctx, 1); err != nil {
			return err
		}
	}
	return nil
}

// news has one sender write n messages to each receiver and waits for the acks.
func (o *offline) news(ctx context.Context, n int, s *member) error {
	s.send(n * len(o.receivers))
	return o.await(ctx, "store", o.acked.Load, func() bool { return o.acked.Load() == o.sent.Load() })
}

// comeBack connects one device after the other and measures from the start of the dial to the message.
func (o *offline) comeBack(ctx context.Context) error {
	b := o.b
	var connected, got hist.Histogram
	r := b.begin(ctx)
	for _, m := range o.receivers {
		start, before := time.Now(), o.arrived.Load()
		if err := m.connect(ctx, b, "u/"+m.login.User); err != nil {
			return err
		}
		connected.Record(time.Since(start))
		if err := o.await(ctx, "come back", o.arrived.Load, func() bool { return o.arrived.Load() > before }); err != nil {
			return fmt.Errorf("%s: %w", m.login.Device, err)
		}
		got.Record(time.Since(start))
	}
	b.addUse(ctx, "return.", r, int64(len(o.receivers)))
	b.addLatency("subscribed", &connected)
	b.addLatency("message", &got)
	o.addFaults(1)
	return nil
}
