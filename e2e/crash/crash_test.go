package crash_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"tidings/internal/crashtest"
	"tidings/internal/history"
)

func TestCrash(t *testing.T) {
	kills := crashtest.FromEnv(t, "TIDINGS_CRASH_KILLS", 20)
	seed := crashtest.FromEnv(t, "TIDINGS_CRASH_SEED", uint64(time.Now().UnixNano()))
	t.Logf("%d kills, seed %d", kills, seed)
	w := newWorld(t, seed)
	w.makeInboxes()
	w.makeGroups()
	w.load.Store(true)
	w.rough.Store(true)
	stop := w.run()
	killer := crashtest.Killer{
		Server: w.srv, Rand: rand.New(rand.NewPCG(seed, 1<<32)), Most: 3 * time.Second,
		OnKill: func() { w.rec.Add(history.Event{Kind: history.Crash}) },
	}
	for range kills {
		killer.Once(t)
	}
	w.comeToRest()
	stop()
	w.readLogs(true)
	w.judge()
}

// comeToRest ends the load and waits until everybody has what is in the logs. If that does not come the judge says what
// is missing.
func (w *world) comeToRest() {
	w.t.Helper()
	w.load.Store(false)
	w.rough.Store(false)
	sent := crashtest.Await(w.t.Context(), 30*time.Second, func() bool {
		return !slices.ContainsFunc(w.devices, func(d *device) bool { return !d.settled(nil) })
	})
	if !sent {
		w.t.Error("publishes are still not acked 30 s after the last kill")
	}
	want := w.readLogs(false)
	crashtest.Await(w.t.Context(), 30*time.Second, func() bool {
		return !slices.ContainsFunc(w.devices, func(d *device) bool { return !d.settled(want) })
	})
}

func (w *world) isMember(chat, user string) bool {
	return slices.Contains(w.setting.Members[chat], user)
}

// judge checks the record and, where it finds something, shows it and writes the record to a file.
func (w *world) judge() {
	w.t.Helper()
	events := w.rec.Events()
	counts := make(map[history.Kind]int)
	for _, e := range events {
		counts[e.Kind]++
	}
	w.t.Logf("events: %v", counts)
	if counts[history.Deliver] == 0 || counts[history.Ack] == 0 || counts[history.Receipt] == 0 {
		w.t.Error("there was no load to judge")
	}
	found := history.Check(events, w.setting)
	for i, v := range found {
		if i == 20 {
			w.t.Errorf("… %d violations in all", len(found))
			break
		}
		w.t.Errorf("%v", v)
		for _, n := range v.Events {
			w.t.Logf("  %d: %v %+v", n, events[n].Kind, events[n])
		}
	}
	if len(found) > 0 {
		for _, d := range w.devices {
			w.t.Log(d)
		}
		w.t.Log("record: ", crashtest.Save(w.t, events))
	}
}
