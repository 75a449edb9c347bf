package scenario

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"tidings/bench/hist"
	"tidings/bench/stats"
	"tidings/bench/target"
)

// sparedFiles is what a process needs beside its connections.
const sparedFiles = 500

// samples is how often runFlat looks at the server.
const samples = 120

// runFlat: many connections, a modest load for a long time. Nothing that the server holds may grow. Where the limit of open
// files allows fewer connections than asked for, cfg.Users tells how many there were.
func runFlat(ctx context.Context, b *bench) error {
	b.cfg.Users = min(b.cfg.Users, maxConnections())
	b.cfg.Users -= b.cfg.Users % 2
	f, err := b.newFleet(ctx, "flat", b.cfg.Users)
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
	b.add("connections", "", float64(len(f.members)))
	var late hist.Histogram
	if err := f.sendAtRate(ctx, f.members, b.cfg.Rate, b.cfg.Warmup, &late); err != nil {
		return err
	}
	if err := f.flatPhase(ctx); err != nil {
		return err
	}
	f.addFaults(1)
	return nil
}

// maxConnections is what the limit of open files leaves room for, in this process as in the server's.
func maxConnections() int {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 1000
	}
	return int(min(l.Max, 1<<20)) - sparedFiles
}

// flatPhase sends and samples for cfg.Duration.
func (f *fleet) flatPhase(ctx context.Context) error {
	b := f.b
	f.reset()
	var late hist.Histogram
	r, from := b.begin(ctx), f.arrived.Load()
	var s sampler
	sampling, stop := context.WithCancel(ctx)
	var sampled sync.WaitGroup
	sampled.Go(func() { s.run(sampling, b, b.cfg.Duration/samples) })
	err := f.sendAtRate(ctx, f.members, b.cfg.Rate, b.cfg.Duration, &late)
	stop()
	sampled.Wait()
	if err != nil {
		return err
	}
	if err := f.settle(ctx, 1); err != nil {
		return err
	}
	arrived := f.arrived.Load() - from
	b.add("messages", "/s", float64(arrived)/time.Since(r.at).Seconds())
	b.addUse(ctx, "", r, arrived)
	b.addLatency("receive", f.e2e.Load())
	b.addLatency("puback", f.ack.Load())
	b.add("sent_late_p99", "ms", ms(late.Quantile(0.99)))
	b.add("skipped", "", float64(f.skipped.Load()))
	s.report(b)
	return nil
}

// sampler reads what the server holds.
type sampler struct {
	series []Series
}

func (s *sampler) run(ctx context.Context, b *bench, every time.Duration) {
	start := time.Now()
	tick := time.NewTicker(max(every, 50*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.take(ctx, b, time.Since(start).Seconds())
		}
	}
}

// take adds one sample of everything that the target tells.
func (s *sampler) take(ctx context.Context, b *bench, at float64) {
	if rss := b.rss(); rss > 0 {
		s.point("rss", "MiB", at, rss/mib)
	}
	if n, ok := openFiles(b.target.PID()); ok {
		s.point("files", "", at, n)
	}
	if t, ok := b.target.(target.Survivor); ok {
		if used, err := t.DiskUse(); err == nil {
			s.point("disk", "MiB", at, float64(used)/mib)
		}
	}
	all, ok := b.metrics(ctx)
	if !ok {
		return
	}
	s.point("heap", "MiB", at, all["go_memstats_heap_alloc_bytes"]/mib)
	s.point("heap_inuse", "MiB", at, all["go_memstats_heap_inuse_bytes"]/mib)
	s.point("goroutines", "", at, all["go_goroutines"])
	s.point("memtable", "MiB", at, all["tidings_store_memtable_bytes"]/mib)
}

func (s *sampler) point(name, unit string, at, v float64) {
	for i := range s.series {
		if s.series[i].Name == name {
			s.series[i].Points = append(s.series[i].Points, [2]float64{at, v})
			return
		}
	}
	s.series = append(s.series, Series{Name: name, Unit: unit, Over: "s", Points: [][2]float64{{at, v}}})
}

// report adds the series, and of each how it has grown between the first and the last third.
func (s *sampler) report(b *bench) {
	b.series = append(b.series, s.series...)
	for _, of := range s.series {
		values := make([]float64, len(of.Points))
		for i, p := range of.Points {
			values[i] = p[1]
		}
		b.addGrowth(of.Name, of.Unit, values, stats.Mean)
		if of.Name == "heap" { // what it falls to after a collection is what lives
			b.addGrowth("heap_least", of.Unit, values, slices.Min)
		}
	}
}

func (b *bench) addGrowth(name, unit string, values []float64, reduce func([]float64) float64) {
	first, last := stats.Thirds(values, reduce)
	b.add(name+"_first_third", unit, first)
	b.add(name+"_last_third", unit, last)
	if first > 0 {
		b.add(name+"_growth", "%", (last/first-1)*100)
	}
}

// openFiles counts a process's file descriptors.
func openFiles(pid int) (float64, bool) {
	if pid == 0 {
		return 0, false
	}
	dir, err := os.Open(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return 0, false
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	return float64(len(names)), err == nil
}
