package stats_test

import (
	"slices"
	"testing"

	"tidings/bench/stats"
)

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		values []float64
		want   float64
	}{
		{nil, 0},
		{[]float64{7}, 7},
		{[]float64{9, 1}, 5},
		{[]float64{9, 1, 2}, 2},
		{[]float64{4, 9, 1, 2}, 3},
	} {
		before := slices.Clone(tt.values)
		if got := stats.Median(tt.values); got != tt.want {
			t.Errorf("median of %v = %v, want %v", tt.values, got, tt.want)
		}
		if !slices.Equal(before, tt.values) {
			t.Errorf("values %v became %v", before, tt.values)
		}
	}
}

func TestThirds(t *testing.T) {
	for _, tt := range []struct {
		values      []float64
		first, last float64
	}{
		{nil, 0, 0},
		{[]float64{5}, 5, 5},
		{[]float64{1, 3}, 1, 3},
		{[]float64{1, 3, 100, 100, 5, 9}, 2, 7},
		{[]float64{1, 2, 3, 4, 5, 6, 7}, 1.5, 6.5},
	} {
		if first, last := stats.Thirds(tt.values, stats.Mean); first != tt.first || last != tt.last {
			t.Errorf("thirds of %v = %v, %v; want %v, %v", tt.values, first, last, tt.first, tt.last)
		}
	}
}
