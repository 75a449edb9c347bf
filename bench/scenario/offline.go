package scenario

import (
	"context"
	"fmt"
	"time"

	"tidings/bench/target"
)

func (b *bench) loginsOf(members []*member) []target.Login {
	logins := make([]target.Login, len(members))
	for i, m := range members {
		logins[i] = m.login
	}
	return logins
}

// offline is a fleet whose receivers have subscribed once and gone; each sender writes to its own share of them.
type offline struct {
	*fleet
	senders, receivers []*member
}

func (b *bench) newOffline(ctx context.Context) (*offline, error) {
	b.cfg.Senders = min(b.cfg.Senders, b.cfg.Users)
	f, err := b.newFleet(ctx, "away", b.cfg.Senders+b.cfg.Users)
	if err != nil {
		return nil, err
	}
	o := &offline{f, f.members[:b.cfg.Senders], f.members[b.cfg.Senders:]}
	if err := f.connectAll(ctx, o.receivers); err != nil {
		return nil, err
	}
	f.disconnectAll(o.receivers)
	for i, m := range o.receivers {
		s := o.senders[i%len(o.senders)]
		s.topics = append(s.topics, "u/"+m.login.User)
	}
	if err := each(o.senders, func(m *member) error { return m.connect(ctx, b) }); err != nil {
		return nil, err
	}
	b.note("%d devices are away, %d senders connected", len(o.receivers), len(o.senders))
	return o, nil
}

// store sends n messages into the inboxes and returns when all are acked.
func (o *offline) store(ctx context.Context, n int) error {
	goal := o.acked.Load() + int64(n)
	first := min(o.b.cfg.Window, max(1, n/len(o.senders)))
	o.budget.Store(int64(n - first*len(o.senders)))
	o.closed.Store(true)
	for _, m := range o.senders {
		m.send(first)
	}
	err := o.await(ctx, "store", o.acked.Load, func() bool { return o.acked.Load() >= goal })
	o.closed.Store(false)
	return err
}

// drain brings all receivers back and returns when they have everything.
func (o *offline) drain(ctx context.Context) error {
	if err := o.connectAll(ctx, o.receivers); err != nil {
		return err
	}
	return o.settle(ctx, 1)
}

// runOffline: how fast messages go into inboxes of devices that are away.
func runOffline(ctx context.Context, b *bench) error {
	o, err := b.newOffline(ctx)
	if err != nil {
		return err
	}
	defer o.disconnectAll(o.members)
	r := b.begin(ctx)
	if err := o.store(ctx, b.cfg.Messages); err != nil {
		return err
	}
	sent := o.acked.Load()
	b.add("messages", "/s", float64(sent)/time.Since(r.at).Seconds())
	b.addUse(ctx, "", r, sent)
	b.addLatency("puback", o.ack.Load())
	b.add("rss", "MiB", b.rss()/mib)
	if err := o.drain(ctx); err != nil {
		return err
	}
	o.addFaults(1)
	return nil
}

// runDrain: how fast devices that come back get what waits for them.
func runDrain(ctx context.Context, b *bench) error {
	o, err := b.newOffline(ctx)
	if err != nil {
		return err
	}
	defer o.disconnectAll(o.members)
	if err := o.store(ctx, b.cfg.Messages); err != nil {
		return err
	}
	if err := b.calm(ctx); err != nil {
		return err
	}
	r := b.begin(ctx)
	if err := o.drain(ctx); err != nil {
		return err
	}
	n := o.arrived.Load()
	b.add("messages", "/s", float64(n)/time.Since(r.at).Seconds())
	b.addUse(ctx, "", r, n)
	o.addFaults(1)
	return nil
}

// runWaiting: what waiting messages cost in memory. The slope leaves out what is touched once, such as a memtable.
func runWaiting(ctx context.Context, b *bench) error {
	o, err := b.newOffline(ctx)
	if err != nil {
		return err
	}
	defer o.disconnectAll(o.members)
	const steps = 5
	if err := b.calm(ctx); err != nil {
		return err
	}
	empty := b.rss()
	b.add("rss_empty", "MiB", empty/mib)
	var first float64
	for i := range steps {
		if err := o.store(ctx, b.cfg.Messages/steps); err != nil {
			return err
		}
		if err := b.calm(ctx); err != nil {
			return err
		}
		grown := b.rss() - empty
		if i == 0 {
			first = grown
		}
		b.note("%d waiting: %+.1f MiB", o.acked.Load(), grown/mib)
		b.add(fmt.Sprintf("rss_growth_%d", (i+1)*100/steps), "MiB", grown/mib)
		if i == steps-1 {
			b.add("slope", "B/msg", (grown-first)/(float64(b.cfg.Messages)*(steps-1)/steps))
		}
	}
	b.add("refused", "", float64(o.refused.Load()))
	return nil
}
