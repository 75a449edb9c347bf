package main

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"tidings/bench/report"
)

// number writes a figure for a reader, with commas between thousands.
func number(v float64) string {
	s := report.Number(v)
	whole, rest, _ := strings.Cut(s, ".")
	sign := ""
	if positive, found := strings.CutPrefix(whole, "-"); found {
		sign, whole = "-", positive
	}
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if rest != "" {
		rest = "." + rest
	}
	return sign + whole + rest
}

// spread writes the median of a figure, and the least and the greatest value where there are several.
func (s *stepData) spread(target, figure, unit string) string {
	found := s.values(target, figure)
	if len(found) == 0 {
		return "–"
	}
	v, _ := s.median(target, figure)
	text := number(v)
	if unit != "" && unit[0] != '/' {
		unit = " " + unit
	}
	text += unit
	if least, most := slices.Min(found), slices.Max(found); len(found) > 1 {
		text += fmt.Sprintf(" [%s–%s]", number(least), number(most))
	}
	return text
}

// beside writes the other servers' values of a figure, where there are any.
func (s *stepData) beside(figure, unit string) string {
	var parts []string
	for _, other := range []string{"mosquitto", "mochi"} {
		if len(s.values(other, figure)) > 0 {
			parts = append(parts, other+" "+s.spread(other, figure, unit))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return "; beside it " + strings.Join(parts, ", ")
}

// busy is how many of the machine's cores server and load used in a phase: what CPU a message cost both, by messages/s.
func (s *stepData) busy(phase, rate string) (cores, server float64, ok bool) {
	perServer, a := s.median("tidings", phase+"server_cpu")
	perLoad, b := s.median("tidings", phase+"load_cpu")
	perSecond, c := s.median("tidings", rate)
	return (perServer + perLoad) * perSecond / 1e6, perServer * perSecond / 1e6, a && b && c
}

// enoughSampled is how much CPU time a profile must hold to say something, in milliseconds: 30 samples.
const enoughSampled = 300

// shares writes the largest shares of a profile.
func (s *stepData) shares() string {
	if s.Profile == nil || s.Profile.Sampled < enoughSampled {
		return ""
	}
	var parts []string
	for _, p := range s.Profile.Shares {
		if p.Percent < 3 || len(parts) == 6 {
			break
		}
		parts = append(parts, fmt.Sprintf("%s took %.0f %%", p.Work, p.Percent))
	}
	if len(parts) == 0 {
		return ""
	}
	return " Of the server's CPU time, " + strings.Join(parts, ", ") + "."
}

// gib writes a number of bytes.
func gib(n int64) string { return number(math.Round(float64(n)/(1<<30)*10)/10) + " GiB" }
