package crashtest

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"tidings/internal/mqttest/server"
)

// Killer kills a server and starts it again. It belongs to the test's goroutine.
type Killer struct {
	Server *server.Server
	Rand   *rand.Rand
	Most   time.Duration // longest time between a start and the kill behind it
	OnKill func()        // called just before each kill
}

// Once lets the load run for a random time, kills the server and starts it again; now and then it kills it once more while
// it starts.
func (k *Killer) Once(t testing.TB) {
	t.Helper()
	Between(t.Context(), k.Rand, 100*time.Millisecond, k.Most)
	k.kill(t)
	if k.Rand.IntN(4) == 0 {
		started := make(chan error, 1)
		go func() { started <- k.Server.Start(t.Context()) }()
		Await(t.Context(), 5*time.Second, k.Server.Running)
		Between(t.Context(), k.Rand, 0, 150*time.Millisecond)
		k.kill(t)
		if err := <-started; err == nil {
			t.Log("killed just after a start") // else before it was ready
		}
	}
	if err := k.Server.Start(t.Context()); err != nil {
		t.Fatalf("start after kill -9: %v", err)
	}
}

func (k *Killer) kill(t testing.TB) {
	t.Helper()
	k.OnKill()
	if err := k.Server.Kill(); err != nil {
		t.Fatal(err)
	}
}

// Between waits for a random time, at least least and less than most, or until ctx ends.
func Between(ctx context.Context, rng *rand.Rand, least, most time.Duration) {
	t := time.NewTimer(least + time.Duration(rng.Int64N(int64(most-least))))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// Await waits for a condition, at most for limit or until ctx ends, and says whether it came.
func Await(ctx context.Context, limit time.Duration, cond func() bool) bool {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline.C:
			return cond()
		case <-ctx.Done():
			return false
		}
	}
	return true
}
