package auth

import (
	"context"
	"sync/atomic"

	"tidings/hooks"
)

// gate bounds how many argon2id computations run at once and how many logins
// wait for one.
type gate struct {
	slots   chan struct{}
	queue   int64
	waiting atomic.Int64
}

func newGate(concurrency, queue int) *gate {
	return &gate{slots: make(chan struct{}, concurrency), queue: int64(queue)}
}

// enter waits for a slot; leave gives it back. hooks.ErrBusy when the queue is
// full or the context ends first.
func (g *gate) enter(ctx context.Context) error {
	select {
	case g.slots <- struct{}{}:
		return nil
	default:
	}
	defer g.waiting.Add(-1)
	if g.waiting.Add(1) > g.queue {
		return hooks.ErrBusy
	}
	select {
	case g.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return hooks.ErrBusy
	}
}

func (g *gate) leave() { <-g.slots }
