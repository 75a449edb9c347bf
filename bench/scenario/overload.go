package scenario

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"tidings/bench/stats"
)

// A rate counts as sustained when this share of it has been sent and delivered by the end of a step, save for what comes in
// settleTime: that may still be under way.
const (
	sustainedShare = 0.95
	settleTime     = 100 * time.Millisecond
)

// searchSteps is how often the search for the sustainable rate halves its interval; mostSteps, while no rate was sustained.
const (
	searchSteps = 6
	mostSteps   = 16
)

// step is what came of offering messages at one rate.
type step struct {
	offered, acked, arrived float64 // messages/s
	p50, p99                float64 // publish → receive, ms
	sent, skipped           int64   // what is skipped was not sent, since the connection had its maximum in flight
	delivered               int64   // by the end of the step
}

func (s *step) sustained() bool {
	offered := s.sent + s.skipped
	return float64(s.delivered) >= sustainedShare*float64(offered)-s.offered*settleTime.Seconds()
}

// runOverload: clients publish at given rates, whatever the server does. The highest rate that it sustains is searched, then
// twice that rate is offered. A few users with little to say, in a process of their own, tell what they notice.
func runOverload(ctx context.Context, b *bench) error {
	dir, err := os.MkdirTemp("", "bench-light-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	light, err := b.newLightUsers(ctx, dir)
	if err != nil {
		return err
	}
	b.cfg.Users += b.cfg.Users % 2
	f, err := b.newFleet(ctx, "heavy", b.cfg.Users)
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
	calm, err := light.run(ctx)
	if err != nil {
		return err
	}
	b.note("calm: light users' messages arrive after %.2f ms (p50)", calm.ReceiveP50)
	if err := f.saturate(ctx, f.members, 1); err != nil {
		return err
	}
	closed, _ := (&Result{Values: b.values}).Figure("saturated.messages")
	steps, sustainable, err := f.search(ctx, closed)
	if err != nil {
		return err
	}
	return f.overload(ctx, light, calm, steps, sustainable)
}

// search offers rates around the one of the closed loop and returns all that was tried and the highest one sustained.
func (f *fleet) search(ctx context.Context, around float64) (steps []step, sustainable float64, err error) {
	low, high := 0.0, 1.5*around
	for n := 0; n < searchSteps || low == 0 && n < mostSteps; n++ {
		rate := (low + high) / 2
		s, err := f.offerFor(ctx, rate, f.b.cfg.Duration/2)
		if err == nil && !s.sustained() { // once more: the machine may have done something else
			s, err = f.offerFor(ctx, rate, f.b.cfg.Duration/2)
		}
		if err != nil {
			return steps, low, err
		}
		steps = append(steps, s)
		f.b.note("offered %.0f/s: took %.0f/s, delivered %.0f/s, p99 %.1f ms, sustained: %v", s.offered, s.acked, s.arrived, s.p99, s.sustained())
		if s.sustained() {
			low = rate
		} else {
			high = rate
		}
	}
	if low == 0 {
		return steps, 0, fmt.Errorf("not even %.0f/s are sustained", high)
	}
	return steps, low, nil
}

// overload offers twice the sustainable rate and adds the figures.
func (f *fleet) overload(ctx context.Context, light *lightUsers, calm LightFound, steps []step, sustainable float64) error {
	b := f.b
	if err := b.calm(ctx); err != nil {
		return err
	}
	before, r := b.rss(), b.begin(ctx)
	var (
		work  sync.WaitGroup
		over  step
		s     sampler
		noted LightFound
		errs  [2]error
	)
	sampling, stop := context.WithCancel(ctx)
	var sampled sync.WaitGroup
	sampled.Go(func() { s.run(sampling, b, b.cfg.Duration/samples) })
	work.Go(func() { over, errs[0] = f.offerFor(ctx, 2*sustainable, b.cfg.Duration+time.Second) })
	work.Go(func() { noted, errs[1] = light.run(ctx) })
	work.Wait()
	stop()
	sampled.Wait()
	b.addUse(ctx, "overload.", r, over.delivered)
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	peak := 0.0
	curve := [3]Series{
		{Name: "offered_taken", Unit: "/s", Over: "offered /s"},
		{Name: "offered_delivered", Unit: "/s", Over: "offered /s"},
		{Name: "offered_p99", Unit: "ms", Over: "offered /s"},
	}
	for _, st := range append(steps, over) {
		if st != over {
			peak = max(peak, min(st.acked, st.arrived))
		}
		for i, v := range []float64{st.acked, st.arrived, st.p99} {
			curve[i].Points = append(curve[i].Points, [2]float64{st.offered, v})
		}
	}
	b.series = append(b.series, curve[:]...)
	b.add("sustainable", "/s", sustainable)
	b.add("peak", "/s", peak)
	b.add("overload.offered", "/s", over.offered)
	b.add("overload.taken", "/s", over.acked)
	b.add("overload.delivered", "/s", over.arrived)
	b.add("overload.of_peak", "%", 100*min(over.acked, over.arrived)/peak)
	b.add("overload.skipped", "", float64(over.skipped))
	b.add("rss_before", "MiB", before/mib)
	b.addRSS(&s)
	b.addLight(calm, noted)
	f.addFaults(1)
	return nil
}

// addRSS adds how memory went during the overload.
func (b *bench) addRSS(s *sampler) {
	for _, of := range s.series {
		if of.Name != "rss" {
			continue
		}
		values, highest := make([]float64, len(of.Points)), 0.0
		for i, p := range of.Points {
			values[i] = p[1]
			highest = max(highest, p[1])
		}
		// It takes a while until everybody has as much in flight as he may; what counts is whether it grows on after that.
		first, last := stats.Thirds(values[len(values)/3:], stats.Mean)
		b.add("overload.rss_max", "MiB", highest)
		b.add("overload.rss_growth", "%", (last/first-1)*100)
		of.Name = "overload_rss"
		b.series = append(b.series, of)
	}
}

// addLight compares what the light users noticed.
func (b *bench) addLight(calm, over LightFound) {
	for _, v := range []struct {
		name       string
		calm, over float64
	}{
		{"receive_p50", calm.ReceiveP50, over.ReceiveP50},
		{"receive_p99", calm.ReceiveP99, over.ReceiveP99},
		{"puback_p50", calm.PubackP50, over.PubackP50},
		{"puback_p99", calm.PubackP99, over.PubackP99},
	} {
		b.add("light.calm_"+v.name, "ms", v.calm)
		b.add("light.overload_"+v.name, "ms", v.over)
		if v.calm > 0 {
			b.add("light.ratio_"+v.name, "x", v.over/v.calm)
		}
	}
}

// offerFor publishes at a rate for a time from all members at once, and then waits until everything has arrived.
func (f *fleet) offerFor(ctx context.Context, rate float64, d time.Duration) (step, error) {
	f.reset()
	sent, acked, arrived, skipped := f.sent.Load(), f.acked.Load(), f.arrived.Load(), f.skipped.Load()
	start := time.Now()
	var wg sync.WaitGroup
	for i, m := range f.members {
		wg.Go(func() { m.offerAtRate(ctx, rate/float64(len(f.members)), d, i) })
	}
	wg.Wait()
	took := time.Since(start)
	s := step{
		acked: float64(f.acked.Load()-acked) / took.Seconds(), arrived: float64(f.arrived.Load()-arrived) / took.Seconds(),
		sent: f.sent.Load() - sent, skipped: f.skipped.Load() - skipped, delivered: f.arrived.Load() - arrived,
	}
	s.offered = float64(s.sent+s.skipped) / took.Seconds()
	receive := f.e2e.Load()
	s.p50, s.p99 = ms(receive.Quantile(0.5)), ms(receive.Quantile(0.99))
	if err := alive(f.members); err != nil {
		return s, err
	}
	return s, f.settle(ctx, 1)
}

// offerGrain is how often a sender looks whether something is due.
const offerGrain = 5 * time.Millisecond

// offerAtRate publishes what is due, in time or late. Members begin at different moments of the grain.
func (m *member) offerAtRate(ctx context.Context, rate float64, d time.Duration, index int) {
	first := time.NewTimer(offerGrain * time.Duration(index%16) / 16)
	select {
	case <-ctx.Done():
		first.Stop()
		return
	case <-first.C:
	}
	start, done := time.Now(), 0
	tick := time.NewTicker(offerGrain)
	defer tick.Stop()
	for time.Since(start) < d {
		select {
		case <-ctx.Done():
			return
		case <-m.client.Done():
			return
		case <-tick.C:
		}
		if due := int(rate * time.Since(start).Seconds()); due > done {
			m.offer(due - done)
			done = due
		}
	}
	m.offer(int(rate*d.Seconds()) - done)
}
