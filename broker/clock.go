package broker

import (
	"sync/atomic"
	"time"
)

// tick is how coarse the clock of hot paths is, and how often the wheel turns.
const tick = 500 * time.Millisecond

// clock tells the time since the server began, as of the last tick, for the price
// of an atomic load. It never tells zero.
type clock struct {
	start time.Time
	ms    atomic.Int64
}

func newClock() *clock {
	c := &clock{start: time.Now()}
	c.ms.Store(1)
	return c
}

// advance is called once a tick.
func (c *clock) advance() { c.ms.Store(time.Since(c.start).Milliseconds() + 1) }

// now returns the coarse time in milliseconds.
func (c *clock) now() int64 { return c.ms.Load() }

// wallOf turns a coarse time into Unix milliseconds.
func (c *clock) wallOf(ms int64) int64 { return c.start.UnixMilli() + ms - 1 }
