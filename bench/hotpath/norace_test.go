//go:build !race

package hotpath_test

const (
	baselineFile = "testdata/baseline.json"
	room         = 2.5 // a path may cost this much more than it did
)
