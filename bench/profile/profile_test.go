package profile

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const traces = `File: tidings
Type: cpu
Duration: 2.20s, Total samples = 100ms
-----------+-------------------------------------------------------
      50ms   internal/runtime/syscall/linux.Syscall6
             syscall.write
             tidings/broker.(*output).flush
             tidings/broker.(*loop).run
-----------+-------------------------------------------------------
      20ms   internal/runtime/syscall/linux.Syscall6
             golang.org/x/sys/unix.Fdatasync
             github.com/cockroachdb/pebble/v2/record.(*LogWriter).flushLoop
-----------+-------------------------------------------------------
      20ms   runtime.memmove (inline)
             tidings/delivery.(*Turn).Publish
             tidings/broker.(*loop).run
-----------+-------------------------------------------------------
         0   runtime.nanotime
-----------+-------------------------------------------------------
      10ms   runtime.scanobject
             runtime.gcDrain
             runtime.gcBgMarkWorker
`

// The carrier calls the engine, so what the engine does is on the carrier's stacks: the innermost of ours decides.
func TestShares(t *testing.T) {
	got, err := shares([]byte(traces))
	if err != nil {
		t.Fatal(err)
	}
	want := &Profile{100, []Share{
		{"sockets", 50}, {"store: write-ahead log and its sync", 20}, {"tidings: engine", 20}, {"garbage collection", 10}, {"other", 0},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("shares (-want +got):\n%s", diff)
	}
	var sum float64
	for _, s := range got.Shares {
		sum += s.Percent
	}
	if math.Abs(sum-100) > 1e-9 {
		t.Errorf("shares add up to %v", sum)
	}
}

func TestNoSamples(t *testing.T) {
	if _, err := shares([]byte("File: tidings\n")); err == nil {
		t.Error("no error")
	}
}
