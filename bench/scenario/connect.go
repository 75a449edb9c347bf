package scenario

import (
	"context"
	"time"
)

// runReconnect: a whole fleet that has sessions comes back at once and subscribes again.
func runReconnect(ctx context.Context, b *bench) error {
	f, err := b.newFleet(ctx, "back", b.cfg.Users)
	if err != nil {
		return err
	}
	defer f.disconnectAll(f.members)
	if err := f.connectAll(ctx, f.members); err != nil {
		return err
	}
	_ = each(f.members, func(m *member) error { // Drop cannot fail
		m.client.Drop()
		m.client = nil
		return nil
	})
	if err := b.calm(ctx); err != nil {
		return err
	}
	r := b.begin(ctx)
	if err := f.connectAll(ctx, f.members); err != nil {
		return err
	}
	took := time.Since(r.at)
	b.add("time", "s", took.Seconds())
	b.add("reconnects", "/s", float64(len(f.members))/took.Seconds())
	b.addUse(ctx, "", r, int64(len(f.members)))
	b.add("rss", "MiB", b.rss()/mib)
	return alive(f.members)
}

// runIdle: what a connected, subscribed and silent device costs in memory.
func runIdle(ctx context.Context, b *bench) error {
	f, err := b.newFleet(ctx, "idle", b.cfg.Users)
	if err != nil {
		return err
	}
	defer f.disconnectAll(f.members)
	warm := f.members[:min(100, len(f.members))] // touches what is not per connection
	if err := f.connectAll(ctx, warm); err != nil {
		return err
	}
	if err := b.calm(ctx); err != nil {
		return err
	}
	start, _ := b.metrics(ctx)
	before := b.rss()
	rest := f.members[len(warm):]
	if err := f.connectAll(ctx, rest); err != nil {
		return err
	}
	if err := pause(ctx, b.cfg.Duration); err != nil {
		return err
	}
	after := b.rss()
	b.add("rss", "MiB", after/mib)
	n := float64(max(1, len(rest)))
	b.add("per_connection", "KiB", (after-before)/1024/n)
	if all, ok := b.metrics(ctx); ok {
		for _, of := range []struct{ name, metric string }{
			{"heap_per_connection", "go_memstats_heap_inuse_bytes"},
			{"stack_per_connection", "go_memstats_stack_inuse_bytes"},
			{"goroutines_per_connection", "go_goroutines"},
		} {
			grown := all[of.metric] - start[of.metric]
			if of.metric == "go_goroutines" {
				b.add(of.name, "", grown/n)
				continue
			}
			b.add(of.name, "KiB", grown/1024/n)
		}
	}
	return alive(f.members)
}
