package conformance

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Check compares markers with the statements and returns every disagreement: a marker or a reason for what is no
// statement, and a statement that has neither a test nor a reason, or both.
func Check(versions []Version, found Markers) error {
	var problems []error
	known := make(map[string]bool)
	for _, v := range versions {
		for _, s := range v.Statements {
			known[v.Mark+"-"+s.ID] = true
		}
	}
	for _, id := range slices.Sorted(maps.Keys(found)) {
		if !known[id] {
			problems = append(problems, fmt.Errorf("%s: marked in %s.%s, and no such statement", id, found[id][0].Package, found[id][0].Name))
		}
	}
	for _, v := range versions {
		problems = append(problems, v.check(found, known)...)
	}
	return errors.Join(problems...)
}

func (v *Version) check(found Markers, known map[string]bool) []error {
	var problems []error
	for _, s := range v.Statements {
		id := v.Mark + "-" + s.ID
		shown, reason := len(found[id]) > 0, v.Reasons[s.ID] != ""
		switch {
		case shown && reason:
			problems = append(problems, fmt.Errorf("%s: a test shows it, so the reason why none does is out of date", id))
		case !shown && !reason:
			problems = append(problems, fmt.Errorf("%s: no test shows it, and there is no reason why (%s)", id, s.Says))
		}
	}
	for _, id := range slices.Sorted(maps.Keys(v.Reasons)) {
		if !known[v.Mark+"-"+id] {
			problems = append(problems, fmt.Errorf("%s-%s: has a reason, and is no statement", v.Mark, id))
		}
	}
	return problems
}
