package scenario

import (
	"context"
	"math"
	"time"

	"tidings/bench/hist"
)

// runChat: pairs of connected users send each other messages, first as fast as acks come, then at a fixed rate.
func runChat(ctx context.Context, b *bench) error {
	b.cfg.Users += b.cfg.Users % 2
	f, err := b.newFleet(ctx, "chat", b.cfg.Users)
	if err != nil {
		return err
	}
	defer f.disconnectAll(f.members)
	for i, m := range f.members {
		m.topics = []string{"u/" + f.members[i^1].login.User}
	}
	if err := f.connectAll(ctx, f.members); err != nil {
		return err
	}
	b.note("%d users connected", len(f.members))
	if err := f.phases(ctx, f.members, 1); err != nil {
		return err
	}
	b.add("rss", "MiB", b.rss()/mib)
	f.addFaults(1)
	return nil
}

// phases is the saturated phase and, after some time to rest, the paced one; either may be left out.
func (f *fleet) phases(ctx context.Context, senders []*member, fanOut int64) error {
	if f.b.cfg.Window > 0 {
		if err := f.saturate(ctx, senders, fanOut); err != nil {
			return err
		}
	}
	if f.b.cfg.Rate < 0 {
		return nil
	}
	if err := f.b.calm(ctx); err != nil {
		return err
	}
	return f.pace(ctx, senders, fanOut)
}

// saturate keeps cfg.Window publishes of each sender in flight and measures once the warm-up is over.
func (f *fleet) saturate(ctx context.Context, senders []*member, fanOut int64) error {
	b := f.b
	f.budget.Store(math.MaxInt64)
	f.closed.Store(true)
	for _, m := range senders {
		m.send(b.cfg.Window)
	}
	if err := f.during(ctx, b.cfg.Warmup); err != nil {
		return err
	}
	f.reset()
	r, from := b.begin(ctx), f.arrived.Load()
	if err := f.during(ctx, b.cfg.Duration); err != nil {
		return err
	}
	arrived, took := f.arrived.Load()-from, time.Since(r.at)
	b.add("saturated.messages", "/s", float64(arrived)/float64(fanOut)/took.Seconds())
	if fanOut > 1 {
		b.add("saturated.deliveries", "/s", float64(arrived)/took.Seconds())
	}
	b.addUse(ctx, "saturated.", r, arrived/fanOut)
	b.addLatency("saturated.receive", f.e2e.Load())
	b.addLatency("saturated.puback", f.ack.Load())
	return f.settle(ctx, fanOut)
}

// pace publishes at cfg.Rate, whatever the server does, from one sender after the other.
func (f *fleet) pace(ctx context.Context, senders []*member, fanOut int64) error {
	b := f.b
	f.reset()
	var late hist.Histogram
	r, from := b.begin(ctx), f.arrived.Load()
	if err := f.sendAtRate(ctx, senders, b.cfg.Rate, b.cfg.Duration, &late); err != nil {
		return err
	}
	if err := f.settle(ctx, fanOut); err != nil {
		return err
	}
	arrived := f.arrived.Load() - from
	b.add("paced.messages", "/s", float64(arrived)/float64(fanOut)/time.Since(r.at).Seconds())
	b.addUse(ctx, "paced.", r, arrived/fanOut)
	b.addLatency("paced.receive", f.e2e.Load())
	b.addLatency("paced.puback", f.ack.Load())
	if fanOut > 1 {
		b.addLatency("paced.last_receiver", f.last.Load())
	}
	b.add("paced.sent_late_p99", "ms", float64(late.Quantile(0.99).Microseconds())/1000)
	b.add("paced.skipped", "", float64(f.skipped.Load()))
	return nil
}

// sendAtRate publishes rate messages/s for a time, from one sender after the other, and records in late by how much each
// came after its time.
func (f *fleet) sendAtRate(ctx context.Context, senders []*member, rate float64, d time.Duration, late *hist.Histogram) error {
	interval := time.Duration(float64(time.Second) / rate)
	start := time.Now()
	for n := 0; ; n++ {
		due := start.Add(time.Duration(n) * interval)
		if due.Sub(start) >= d {
			return nil
		}
		if wait := time.Until(due); wait > 0 {
			if err := pause(ctx, wait); err != nil {
				return err
			}
		}
		late.Record(time.Since(due))
		senders[n%len(senders)].send(1)
	}
}

// during lets d pass while all connections live.
func (f *fleet) during(ctx context.Context, d time.Duration) error {
	if err := pause(ctx, d); err != nil {
		return err
	}
	return alive(f.members)
}
