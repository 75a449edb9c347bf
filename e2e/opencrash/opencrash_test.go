package opencrash_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"tidings/internal/crashtest"
)

func TestOpenCrash(t *testing.T) {
	kills := crashtest.FromEnv(t, "TIDINGS_CRASH_KILLS", 10)
	seed := crashtest.FromEnv(t, "TIDINGS_CRASH_SEED", uint64(time.Now().UnixNano()))
	t.Logf("%d kills, seed %d", kills, seed)
	w := newWorld(t, seed)
	pair := w.startPaho()
	w.load.Store(true)
	w.rough.Store(true)
	stop, stopPair := w.run(), pair.run()
	killer := crashtest.Killer{
		Server: w.srv, Rand: rand.New(rand.NewPCG(seed, 1<<32)), Most: 1500 * time.Millisecond,
		OnKill: func() { w.rec.add(event{Who: "server", What: "kill"}) },
	}
	for range kills {
		killer.Once(t)
		w.rec.add(event{Who: "server", What: "ready"})
	}
	w.comeToRest()
	stopPair()
	stop()
	w.judge()
	pair.judge()
	w.judgeRetained()
	if err := w.srv.End(t.Context()); err != nil {
		t.Errorf("the server: %v", err)
	}
	if n := w.faults.Load(); n > 0 {
		t.Errorf("%d violations in all", n)
	}
	if t.Failed() {
		t.Log("record: ", crashtest.Save(t, w.rec.events))
	}
}
