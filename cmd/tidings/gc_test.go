package main

import "testing"

func TestGCPercentFallsWithTheLiveHeap(t *testing.T) {
	for _, tt := range []struct {
		live uint64
		want int
	}{{0, 400}, {4 << 20, 400}, {8 << 20, 200}, {16 << 20, 100}, {32 << 20, 50}, {1 << 30, 50}} {
		if got := gcPercent(tt.live); got != tt.want {
			t.Errorf("live heap of %d MiB: %d percent, want %d", tt.live>>20, got, tt.want)
		}
	}
}
