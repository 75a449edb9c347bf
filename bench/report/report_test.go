package report_test

import (
	"strings"
	"testing"

	"tidings/bench/report"
	"tidings/bench/scenario"
)

func result(target string, rate float64) *scenario.Result {
	return &scenario.Result{Target: target, Mode: "chat", Values: []scenario.Value{{Name: "messages", Unit: "/s", Value: rate}}}
}

func TestCompareTakesMediansAndRatios(t *testing.T) {
	var out strings.Builder
	results := []*scenario.Result{
		result("a", 100), result("b", 50), result("a", 9999), result("b", 60), result("a", 80), result("b", 1),
	}
	results[1].Values = append(results[1].Values, scenario.Value{Name: "only_b", Value: 7})
	if err := report.Compare(&out, []string{"a", "b"}, results); err != nil {
		t.Fatal(err)
	}
	got := strings.Join(strings.Fields(out.String()), " ")
	want := "chat: medians, ratio to a a b unit messages 100 50 0.50x /s only_b – 7"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
