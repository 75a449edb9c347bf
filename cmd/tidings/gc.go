package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// The live heap of a server is small, so collecting it rarely saves time: at 400
// percent a tenth of the throughput. But rarely must not mean that a burst leaves
// hundreds of megabytes behind. So the percentage falls as the live heap grows:
// what may be allocated until the next collection stays at about gcRoom.
const (
	gcMost  = 400
	gcLeast = 50
	gcRoom  = 16 << 20
	gcEvery = time.Second

	// Memory that the heap has left free is given back to the system when there is
	// much of it: Go does so by and by, and never below a tenth over the peak.
	releaseEvery = 5 * time.Second
	releaseFrom  = 16 << 20
)

// gcPercent returns Go's GOGC for a live heap of that many bytes.
func gcPercent(live uint64) int {
	return int(min(gcMost, max(gcLeast, gcRoom*100/max(live, 1))))
}

// tuneGC adjusts GOGC, and gives memory back, until ctx ends. It is used only where the environment does
// not set GOGC.
func tuneGC(ctx context.Context) {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/free:bytes"}}
	released := time.Now()
	tick := time.NewTicker(gcEvery)
	defer tick.Stop()
	now := gcPercent(0)
	debug.SetGCPercent(now)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		metrics.Read(sample)
		if p := gcPercent(sample[0].Value.Uint64()); p != now {
			now = p
			debug.SetGCPercent(p)
		}
		if sample[1].Value.Uint64() > releaseFrom && time.Since(released) >= releaseEvery {
			debug.FreeOSMemory()
			released = time.Now()
		}
	}
}
