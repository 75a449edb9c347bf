package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tidings/bench/machine"
	"tidings/bench/profile"
	"tidings/bench/scenario"
	"tidings/bench/stats"
)

// data is all that a run has measured; the document is made of it and of nothing else.
type data struct {
	Begun   time.Time       `json:"begun"`
	Ended   time.Time       `json:"ended"`
	Quick   bool            `json:"quick"`
	Machine machine.Machine `json:"machine"`
	Steps   []*stepData     `json:"steps"`
}

// stepData is what a step has found.
type stepData struct {
	step
	Results  []*scenario.Result `json:"results"`
	Profile  *profile.Profile   `json:"profile,omitempty"` // of tidings' CPU time in the measured phase
	Failures []string           `json:"failures,omitempty"`
}

const dataFile = "data.json"

func readData(dir string) (*data, error) {
	b, err := os.ReadFile(filepath.Join(dir, dataFile))
	if err != nil {
		return nil, err
	}
	var d data
	return &d, json.Unmarshal(b, &d)
}

func (d *data) save(dir string) error {
	b, err := json.MarshalIndent(d, "", " ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, dataFile), append(b, '\n'), 0o644)
}

func (d *data) step(name string) *stepData {
	for _, s := range d.Steps {
		if s.Name == name {
			return s
		}
	}
	return &stepData{}
}

// sized returns the steps called prefix-N, by N.
func (d *data) sized(prefix string) []*stepData {
	var found []*stepData
	for _, s := range d.Steps {
		rest, ok := strings.CutPrefix(s.Name, prefix+"-")
		if ok && strings.Trim(rest, "0123456789") == "" {
			found = append(found, s)
		}
	}
	return found
}

// values are what the runs of a target found for one figure.
func (s *stepData) values(target, figure string) []float64 {
	var found []float64
	for _, r := range s.Results {
		if v, ok := r.Figure(figure); ok && r.Target == target {
			found = append(found, v)
		}
	}
	return found
}

// median of a figure; ok is false where it was not measured.
func (s *stepData) median(target, figure string) (v float64, ok bool) {
	found := s.values(target, figure)
	return stats.Median(found), len(found) > 0
}

// series returns those called name of the step's last run on tidings.
func (s *stepData) series(name string) [][2]float64 {
	for _, r := range slices.Backward(s.Results) {
		for _, of := range r.Series {
			if of.Name == name && r.Target == "tidings" {
				return of.Points
			}
		}
	}
	return nil
}

// failures are those of all steps.
func (d *data) failures() []string {
	var found []string
	for _, s := range d.Steps {
		for _, f := range s.Failures {
			found = append(found, s.Name+", "+f)
		}
	}
	return found
}

// faults are figures that must be 0 and are not, of tidings.
func (d *data) faults() []string {
	var found []string
	for _, s := range d.Steps {
		for _, name := range []string{"lost", "doubled", "reordered", "refused"} {
			if v := slices.Max(append(s.values("tidings", name), 0)); v > 0 {
				found = append(found, s.Name+": "+name+" "+number(v))
			}
		}
	}
	return found
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}
