package crash_test

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"tidings/internal/history"
)

// fromEnv reads a positive number from the environment.
func fromEnv(t *testing.T, name string, fallback uint64) uint64 {
	s := os.Getenv(name)
	if s == "" {
		return fallback
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n == 0 {
		t.Fatalf("%s=%q: want a positive number", name, s)
	}
	return n
}

func TestCrash(t *testing.T) {
	kills := fromEnv(t, "TIDINGS_CRASH_KILLS", 20)
	seed := fromEnv(t, "TIDINGS_CRASH_SEED", uint64(time.Now().UnixNano()))
	t.Logf("%d kills, seed %d", kills, seed)
	w := newWorld(t, seed)
	w.makeInboxes()
	w.makeGroups()
	w.load.Store(true)
	w.rough.Store(true)
	stop := w.run()
	rng := rand.New(rand.NewPCG(seed, 1<<32))
	for range kills {
		w.killOnce(rng)
	}
	w.comeToRest()
	stop()
	w.readLogs(true)
	w.judge()
}

// killOnce lets the load run for a random time, kills the server and starts it again; now and then it kills it once more
// while it starts.
func (w *world) killOnce(rng *rand.Rand) {
	w.t.Helper()
	between(w.t.Context(), rng, 100*time.Millisecond, 3*time.Second)
	w.kill()
	if rng.IntN(4) == 0 {
		started := make(chan error, 1)
		go func() { started <- w.srv.Start(w.t.Context()) }()
		w.await(5*time.Second, w.srv.Running)
		between(w.t.Context(), rng, 0, 150*time.Millisecond)
		w.kill()
		<-started // an error where it was killed before it was ready
	}
	if err := w.srv.Start(w.t.Context()); err != nil {
		w.t.Fatalf("start after kill -9: %v", err)
	}
}

func (w *world) kill() {
	w.t.Helper()
	w.rec.Add(history.Event{Kind: history.Crash})
	if err := w.srv.Kill(); err != nil {
		w.t.Fatal(err)
	}
}

// between waits for a random time.
func between(ctx context.Context, rng *rand.Rand, least, most time.Duration) {
	t := time.NewTimer(least + time.Duration(rng.Int64N(int64(most-least))))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// comeToRest ends the load and waits until everybody has what is in the logs. If that does not come the judge says what
// is missing.
func (w *world) comeToRest() {
	w.t.Helper()
	w.load.Store(false)
	w.rough.Store(false)
	sent := w.await(30*time.Second, func() bool {
		return !slices.ContainsFunc(w.devices, func(d *device) bool { return !d.settled(nil) })
	})
	if !sent {
		w.t.Error("publishes are still not acked 30 s after the last kill")
	}
	want := w.readLogs(false)
	w.await(30*time.Second, func() bool {
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
		w.t.Log("record: ", w.save(events))
	}
}

// save writes the record as one JSON object a line, below the artifact directory (go test -artifacts keeps it).
func (w *world) save(events []history.Event) string {
	path := filepath.Join(w.t.(*testing.T).ArtifactDir(), "record.jsonl")
	f, err := os.Create(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	enc := json.NewEncoder(f)
	for _, e := range events {
		if err := enc.Encode(e); err != nil {
			return err.Error()
		}
	}
	return path
}
