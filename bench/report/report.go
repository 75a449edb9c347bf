// Package report prints the figures of benchmark runs and writes them as JSON.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"tidings/bench/scenario"
	"tidings/bench/stats"
)

// File is what is written as JSON.
type File struct {
	Time    time.Time          `json:"time"`
	CPUs    int                `json:"cpus"`
	Results []*scenario.Result `json:"results"`
}

// Write writes results to path, making its directory.
func Write(path string, results []*scenario.Result) error {
	b, err := json.MarshalIndent(File{time.Now().UTC(), runtime.NumCPU(), results}, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}

// Print prints one result as a table.
func Print(w io.Writer, r *scenario.Result) error {
	fmt.Fprintf(w, "%s on %s\n", r.Mode, r.Target)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, v := range r.Values {
		fmt.Fprintf(t, "%s\t%s\t %s\n", v.Name, Number(v.Value), v.Unit)
	}
	return t.Flush()
}

// Compare prints, for each mode, the median of each figure per target and its ratio to the first target's.
func Compare(w io.Writer, targets []string, results []*scenario.Result) error {
	for _, mode := range modesOf(results) {
		fmt.Fprintf(w, "%s: medians, ratio to %s\n", mode, targets[0])
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintf(t, "\t%s\t unit\n", strings.Join(targets, "\t\t"))
		for _, v := range figuresOf(results, mode) {
			base, _ := median(results, mode, targets[0], v.Name)
			fmt.Fprintf(t, "%s", v.Name)
			for i, target := range targets {
				m, ok := median(results, mode, target, v.Name)
				switch {
				case !ok:
					fmt.Fprint(t, "\t–")
				default:
					fmt.Fprintf(t, "\t%s", Number(m))
				}
				if i > 0 {
					fmt.Fprintf(t, "\t%s", ratio(m, base, ok))
				}
			}
			fmt.Fprintf(t, "\t %s\n", v.Unit)
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	return nil
}

func ratio(v, base float64, ok bool) string {
	if !ok || base == 0 {
		return ""
	}
	return fmt.Sprintf("%.2fx", v/base)
}

func modesOf(results []*scenario.Result) []string {
	var modes []string
	for _, r := range results {
		if !slices.Contains(modes, r.Mode) {
			modes = append(modes, r.Mode)
		}
	}
	return modes
}

// figuresOf lists the figures that any target has, in the order in which they were first seen.
func figuresOf(results []*scenario.Result, mode string) []scenario.Value {
	var figures []scenario.Value
	for _, r := range results {
		for _, v := range r.Values {
			known := slices.ContainsFunc(figures, func(f scenario.Value) bool { return f.Name == v.Name })
			if r.Mode == mode && !known {
				figures = append(figures, v)
			}
		}
	}
	return figures
}

func median(results []*scenario.Result, mode, target, name string) (float64, bool) {
	var all []float64
	for _, r := range results {
		if r.Mode != mode || r.Target != target {
			continue
		}
		if v, ok := r.Figure(name); ok {
			all = append(all, v)
		}
	}
	return stats.Median(all), len(all) > 0
}

// Number writes a figure with as many digits as a reader wants.
func Number(v float64) string {
	switch {
	case v == float64(int64(v)) || v >= 1000 || v <= -1000:
		return fmt.Sprintf("%.0f", v)
	case v >= 10 || v <= -10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
