package scenario

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"tidings/bench/stats"
	"tidings/bench/target"
)

// crash is a fleet of pairs at full load on a server that is killed again and again.
type crash struct {
	*fleet
	survivor target.Survivor
	readers  []target.Login // of each pair's first user
	doubles  []float64      // per kill
	ready    []float64      // ms
}

// runCrash: pairs of users send as fast as acks come, the server is killed with SIGKILL at a random moment and started
// again, and the devices come back. In the end every log is read: what was acked must be there.
func runCrash(ctx context.Context, b *bench) error {
	survivor, ok := b.target.(target.Survivor)
	if !ok {
		return fmt.Errorf("keeps nothing over a crash: %w", errors.ErrUnsupported)
	}
	b.cfg.Users += b.cfg.Users % 2
	f, err := b.newFleet(ctx, "crash", b.cfg.Users)
	if err != nil {
		return err
	}
	defer f.disconnectAll(f.members)
	var firsts []string
	for i, m := range f.members {
		m.topics = []string{"u/" + f.members[i^1].login.User}
		m.diary = new(diary)
		if i%2 == 0 {
			firsts = append(firsts, m.login.User)
		}
	}
	c := &crash{fleet: f, survivor: survivor}
	if c.readers, err = survivor.Readers(ctx, firsts); err != nil {
		return err
	}
	if err := f.connectAll(ctx, f.members); err != nil {
		return err
	}
	for n := range b.cfg.Kills {
		if err := c.once(ctx); err != nil {
			return fmt.Errorf("kill %d: %w", n+1, err)
		}
		b.note("kill %d: %d acked so far, %.0f came again, ready after %.0f ms",
			n+1, f.acked.Load(), c.doubles[n], c.ready[n])
	}
	return c.judge(ctx)
}

// once lets the load run, kills the server, starts it and waits until the devices have everything.
func (c *crash) once(ctx context.Context) error {
	doubled := c.doubled.Load()
	c.budget.Store(math.MaxInt64)
	c.closed.Store(true)
	for _, m := range c.members {
		m.send(c.b.cfg.Window)
	}
	most := c.b.cfg.Duration
	if err := pause(ctx, most/2+rand.N(most/2)); err != nil {
		return err
	}
	c.crash.at.Store(now())
	if err := c.survivor.Kill(); err != nil {
		return err
	}
	c.closed.Store(false)
	for _, m := range c.members {
		<-m.client.Done()
		m.client = nil
		clear(m.sentAt) // what had no answer by now gets none
	}
	took, _, err := c.survivor.Restart(ctx)
	if err != nil {
		return err
	}
	c.ready = append(c.ready, ms(took))
	stored, err := c.heads(ctx)
	if err != nil {
		return err
	}
	if err := c.connectAll(ctx, c.members); err != nil {
		return err
	}
	err = c.await(ctx, "come back", c.arrived.Load, func() bool { return c.arrived.Load() >= stored })
	c.doubles = append(c.doubles, float64(c.doubled.Load()-doubled))
	return err
}

// pairs runs fn for each pair, with the reader of its first user.
func (c *crash) pairs(fn func(reader target.Login, first, second *member) error) error {
	return each(c.members, func(m *member) error {
		if m.index%2 == 1 {
			return nil
		}
		return fn(c.readers[m.index/2], m, c.members[m.index+1])
	})
}

// heads is the number of messages in all logs. Each has one receiver.
func (c *crash) heads(ctx context.Context) (int64, error) {
	var sum atomic.Int64
	err := c.pairs(func(reader target.Login, m, _ *member) error {
		head, err := c.survivor.Head(ctx, reader, m.topics[0])
		sum.Add(head)
		return err
	})
	return sum.Load(), err
}

// judge reads all logs and adds the figures.
func (c *crash) judge(ctx context.Context) error {
	var acked, lost, stored atomic.Int64
	err := c.pairs(func(reader target.Login, first, second *member) error {
		in := map[uint32][]uint32{} // by sender: seqs in the log
		err := c.survivor.Log(ctx, reader, first.topics[0], func(payload []byte) {
			if s, ok := findStamp(payload); ok {
				in[s.sender] = append(in[s.sender], s.seq)
			}
		})
		if err != nil {
			return err
		}
		for _, m := range []*member{first, second} {
			acked.Add(int64(len(m.diary.acked)))
			stored.Add(int64(len(in[m.index])))
			lost.Add(missing(m.diary.acked, in[m.index]))
		}
		return nil
	})
	b := c.b
	b.add("kills", "", float64(b.cfg.Kills))
	b.add("acked", "", float64(acked.Load()))
	b.add("stored", "", float64(stored.Load()))
	b.add("lost", "", float64(lost.Load()))
	b.add("reordered", "", float64(c.late.Load()))
	b.add("duplicates_per_kill_p50", "", stats.Median(c.doubles))
	b.add("duplicates_per_kill_max", "", slices.Max(append(c.doubles, 0)))
	b.add("oldest_duplicate", "ms", ms(time.Duration(c.crash.oldest.Load())))
	b.add("ready_p50", "ms", stats.Median(c.ready))
	b.add("ready_max", "ms", slices.Max(append(c.ready, 0)))
	return err
}

// missing counts what of acked is not in the log.
func missing(acked, log []uint32) (n int64) {
	have := make(map[uint32]struct{}, len(log))
	for _, seq := range log {
		have[seq] = struct{}{}
	}
	for _, seq := range acked {
		if _, ok := have[seq]; !ok {
			n++
		}
	}
	return n
}
