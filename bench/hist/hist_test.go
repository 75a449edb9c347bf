package hist_test

import (
	"testing"
	"time"

	"tidings/bench/hist"
)

func TestQuantiles(t *testing.T) {
	var h hist.Histogram
	for i := 1; i <= 100_000; i++ {
		h.Record(time.Duration(i) * time.Microsecond)
	}
	for _, q := range []float64{0.0001, 0.5, 0.99, 0.999, 1} {
		want := time.Duration(q*100_000) * time.Microsecond
		got := h.Quantile(q)
		if got < want || float64(got) > float64(want)*1.016+1 {
			t.Errorf("quantile %v = %v, want %v to 1.6 %% more", q, got, want)
		}
	}
	if h.Count() != 100_000 || h.Max() != 100*time.Millisecond {
		t.Errorf("count %d, max %v", h.Count(), h.Max())
	}
}

func TestEveryMagnitudeHasItsBucket(t *testing.T) {
	for shift := range 61 {
		for _, d := range []int64{-1, 0, 1} {
			v := time.Duration(int64(1)<<shift + d)
			var h hist.Histogram
			h.Record(v)
			h.Record(v * 4 / 3)
			if got := h.Quantile(0.5); got < v || float64(got) > float64(v)*1.016+1 {
				t.Errorf("quantile of %d = %d", v, got)
			}
		}
	}
}

func TestEmpty(t *testing.T) {
	var h hist.Histogram
	if h.Quantile(0.5) != 0 || h.Max() != 0 {
		t.Error("an empty histogram has a quantile")
	}
	h.Record(-time.Second)
	if h.Quantile(1) != 0 || h.Count() != 1 {
		t.Error("a negative duration does not count as 0")
	}
}
