//go:build race

package hotpath_test

// The race detector makes different code dearer by different factors, so it has ratios of its own.
const (
	baselineFile = "testdata/baseline_race.json"
	room         = 3
)
