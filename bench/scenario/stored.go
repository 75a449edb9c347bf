package scenario

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tidings/bench/target"
)

// pairsAfterRestart are the users that write to each other when the server has come back.
const pairsAfterRestart = 200

// runStored: what a number of stored messages costs: they go into inboxes of absent devices, the server is killed at once
// and started again, and then other users write to each other.
func runStored(ctx context.Context, b *bench) error {
	survivor, ok := b.target.(target.Survivor)
	if !ok {
		return fmt.Errorf("keeps nothing over a crash: %w", errors.ErrUnsupported)
	}
	o, err := b.newOffline(ctx)
	if err != nil {
		return err
	}
	r := b.read(ctx)
	if err := o.store(ctx, b.cfg.Messages); err != nil {
		return err
	}
	acked := o.acked.Load()
	b.add("messages", "/s", float64(acked)/time.Since(r.at).Seconds())
	b.add("refused", "", float64(o.refused.Load()))
	b.add("rss_full", "MiB", b.rss()/mib)
	if err := survivor.Kill(); err != nil {
		return err
	}
	for _, m := range o.senders {
		<-m.client.Done()
		m.client = nil
	}
	took, cpu, err := survivor.Restart(ctx)
	if err != nil {
		return err
	}
	b.add("ready", "ms", ms(took))
	b.add("ready_cpu", "ms", ms(cpu))
	if err := b.calm(ctx); err != nil {
		return err
	}
	b.add("rss_restarted", "MiB", b.rss()/mib)
	used, err := survivor.DiskUse()
	if err != nil {
		return err
	}
	b.add("disk_per_message", "B", float64(used)/float64(max(1, acked)))
	return b.chatAfter(ctx)
}

// chatAfter is the load of runChat beside what is stored.
func (b *bench) chatAfter(ctx context.Context) error {
	f, err := b.newFleet(ctx, "after", min(b.cfg.Users+b.cfg.Users%2, pairsAfterRestart))
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
	b.cfg.Window = min(b.cfg.Window, 8)
	if err := f.phases(ctx, f.members, 1); err != nil {
		return err
	}
	f.addFaults(1)
	return nil
}

// metrics are the target's own figures, where it tells any.
func (b *bench) metrics(ctx context.Context) (map[string]float64, bool) {
	t, ok := b.target.(target.Measured)
	if !ok {
		return nil, false
	}
	all, err := t.Metrics(ctx)
	return all, err == nil
}
