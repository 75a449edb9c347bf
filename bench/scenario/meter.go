package scenario

import (
	"context"
	"runtime"
	"time"

	"tidings/bench/hist"
	"tidings/bench/proc"
	"tidings/bench/target"
)

// reading is what target and load generator have used up to a moment.
type reading struct {
	at     time.Time
	server time.Duration // CPU
	self   time.Duration // CPU
	idle   time.Duration // of all cores
	allocs float64
	hasCPU bool
	hasMem bool
}

func (b *bench) read(ctx context.Context) reading {
	r := reading{}
	r.allocs, r.hasMem = b.target.Allocations(ctx)
	if pid := b.target.PID(); pid != 0 {
		var err error
		r.server, err = proc.CPU(pid)
		r.hasCPU = err == nil
	}
	r.self, _ = proc.CPU(0)
	r.idle, _ = proc.Idle() // where it cannot be read the machine seems to be busy
	r.at = time.Now()
	return r
}

// begin is read at the start of a phase whose use of CPU is measured, and profiled where that is wanted; addUse ends it.
func (b *bench) begin(ctx context.Context) reading {
	if p, ok := b.target.(target.Profiler); ok {
		if err := p.StartProfile(); err != nil {
			b.note("profile: %v", err)
		}
	}
	return b.read(ctx)
}

// addUse adds what was used since r per each of n units of work.
func (b *bench) addUse(ctx context.Context, phase string, r reading, n int64) {
	e := b.read(ctx)
	if p, ok := b.target.(target.Profiler); ok {
		if err := p.StopProfile(ctx); err != nil {
			b.note("profile: %v", err)
		}
	}
	per := func(v float64) float64 { return v / float64(max(n, 1)) }
	if r.hasCPU && e.hasCPU {
		b.add(phase+"server_cpu", "µs/msg", per(float64((e.server - r.server).Microseconds())))
	}
	all := e.at.Sub(r.at) * time.Duration(runtime.NumCPU())
	b.add(phase+"machine_idle", "%", 100*float64(e.idle-r.idle)/float64(max(1, all)))
	b.add(phase+"load_cpu", "µs/msg", per(float64((e.self - r.self).Microseconds())))
	if r.hasMem && e.hasMem {
		b.add(phase+"server_allocs", "/msg", per(e.allocs-r.allocs))
	}
}

func (b *bench) addLatency(name string, h *hist.Histogram) {
	for _, q := range []struct {
		name string
		q    float64
	}{{"_p50", 0.5}, {"_p99", 0.99}, {"_p999", 0.999}} {
		b.add(name+q.name, "ms", float64(h.Quantile(q.q).Microseconds())/1000)
	}
}

// rss is the target's resident memory in bytes, 0 where it cannot be read.
func (b *bench) rss() float64 {
	pid := b.target.PID()
	if pid == 0 {
		return 0
	}
	n, err := proc.RSS(pid)
	if err != nil {
		return 0
	}
	return float64(n)
}

const mib = 1 << 20

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// calm lets the target finish what it does behind the last ack before memory or time is read.
func (b *bench) calm(ctx context.Context) error {
	return pause(ctx, min(b.cfg.Duration/5, 2*time.Second))
}
