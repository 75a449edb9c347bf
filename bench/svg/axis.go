package svg

import (
	"math"
	"strconv"
	"strings"
)

// axis maps values to places in the picture.
type axis struct {
	low, high float64 // of the values, in log₁₀ if log
	from, to  float64 // the places of low and high
	log       bool
	ticks     []float64
}

// newAxis makes an axis that holds values, from one place to another.
func newAxis(values []float64, log bool, from, to float64) axis {
	low, high := math.Inf(1), math.Inf(-1)
	for _, v := range values {
		low, high = min(low, v), max(high, v)
	}
	if low > high {
		low, high = 1, 1
	}
	a := axis{from: from, to: to, log: log}
	if log {
		a.decades(low, high)
	} else {
		a.steps(low, high)
	}
	return a
}

// steps chooses about six ticks at multiples of 1, 2 or 5 times a power of ten.
func (a *axis) steps(low, high float64) {
	if low == high {
		low, high = min(0, low), max(1, high)
	}
	step := math.Pow(10, math.Floor(math.Log10((high-low)/5)))
	for _, by := range []float64{1, 2, 5, 10} {
		if (high-low)/(step*by) <= 7 {
			step *= by
			break
		}
	}
	first, last := math.Floor(low/step), math.Ceil(high/step)
	for n := first; n <= last; n++ {
		a.ticks = append(a.ticks, n*step)
	}
	a.low, a.high = first*step, last*step
}

// decades chooses powers of ten, and 2 and 5 times these where there are few.
func (a *axis) decades(low, high float64) {
	first, last := math.Floor(math.Log10(low)+1e-9), math.Ceil(math.Log10(high)-1e-9)
	if first == last {
		last++
	}
	for n := first; n <= last; n++ {
		a.ticks = append(a.ticks, math.Pow(10, n))
		if last-first > 2 || n == last {
			continue
		}
		a.ticks = append(a.ticks, 2*math.Pow(10, n), 5*math.Pow(10, n))
	}
	// What lies beyond the ticks around the values is empty.
	for len(a.ticks) > 2 && a.ticks[1] <= low*(1+1e-9) {
		a.ticks = a.ticks[1:]
	}
	for len(a.ticks) > 2 && a.ticks[len(a.ticks)-2] >= high*(1-1e-9) {
		a.ticks = a.ticks[:len(a.ticks)-1]
	}
	a.low, a.high = math.Log10(a.ticks[0]), math.Log10(a.ticks[len(a.ticks)-1])
}

// at is the place of a value.
func (a *axis) at(v float64) float64 {
	if a.log {
		v = math.Log10(v)
	}
	return a.from + (v-a.low)/(a.high-a.low)*(a.to-a.from)
}

// label writes a value shortly: 5,000 as 5k.
func label(v float64) string {
	switch m := math.Abs(v); {
	case m >= 1e6:
		return trim(v/1e6) + "M"
	case m >= 1e3:
		return trim(v/1e3) + "k"
	}
	return trim(v)
}

func trim(v float64) string {
	s := strconv.FormatFloat(v, 'g', 3, 64)
	if strings.ContainsAny(s, "e") {
		s = strconv.FormatFloat(v, 'f', -1, 64)
	}
	return s
}
