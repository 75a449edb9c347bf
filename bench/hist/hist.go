// Package hist counts durations in buckets that are at most 1.6 % wide, from many goroutines at once.
package hist

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// sub is the number of buckets per power of two.
const (
	subBits = 6
	sub     = 1 << subBits
)

// Histogram counts durations in nanoseconds. The zero value is empty and ready; Record and the readers may run at once,
// and a reader then sees some of what is being recorded.
type Histogram struct {
	buckets [(64 - subBits + 1) * sub]atomic.Uint32
	n       atomic.Uint64
	max     atomic.Int64
}

// Record counts d; a negative one counts as 0.
func (h *Histogram) Record(d time.Duration) {
	v := uint64(max(d, 0))
	h.buckets[bucket(v)].Add(1)
	h.n.Add(1)
	for {
		m := h.max.Load()
		if int64(v) <= m || h.max.CompareAndSwap(m, int64(v)) {
			return
		}
	}
}

// bucket: values below 2·sub have one each; above, the top subBits+1 bits name the bucket.
func bucket(v uint64) int {
	if v < sub {
		return int(v)
	}
	shift := bits.Len64(v) - subBits - 1
	return shift*sub + int(v>>shift)
}

// floor is the smallest value of bucket i.
func floor(i int) uint64 {
	if i < 2*sub {
		return uint64(i)
	}
	shift := i/sub - 1
	return uint64(i-shift*sub) << shift
}

// Count is the number of recorded durations.
func (h *Histogram) Count() uint64 { return h.n.Load() }

// Max is the longest recorded duration.
func (h *Histogram) Max() time.Duration { return time.Duration(h.max.Load()) }

// Quantile returns a duration that a share q of all (0 < q ≤ 1) does not exceed, to the width of a bucket; 0 if empty.
func (h *Histogram) Quantile(q float64) time.Duration {
	want := uint64(q*float64(h.n.Load()) + 0.999999)
	var seen uint64
	for i := range h.buckets {
		seen += uint64(h.buckets[i].Load())
		if seen >= want && seen > 0 {
			return min(time.Duration(floor(i+1)-1), h.Max())
		}
	}
	return h.Max()
}
