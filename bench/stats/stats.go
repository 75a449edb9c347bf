// Package stats has the few statistics that benchmark figures need: the middle and the spread of a handful of runs, and
// growth over time.
package stats

import "slices"

// Median is the middle of values, or the mean of the two middle ones; 0 where there are none. It does not change values.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	mid := len(sorted) / 2
	if len(sorted)%2 == 0 {
		return (sorted[mid-1] + sorted[mid]) / 2
	}
	return sorted[mid]
}

// Mean is the arithmetic mean of values; 0 where there are none.
func Mean(values []float64) float64 {
	var sum float64
	for _, v := range values {
		sum += v
	}
	return sum / float64(max(1, len(values)))
}

// Thirds reduces the first and the last third of values in the order of time to one value each, such as their Mean, which
// tells growth better than two single readings. Fewer than three values give their first and last one, none give zeros.
func Thirds(values []float64, reduce func([]float64) float64) (first, last float64) {
	if len(values) == 0 {
		return 0, 0
	}
	n := max(1, len(values)/3)
	return reduce(values[:n]), reduce(values[len(values)-n:])
}
