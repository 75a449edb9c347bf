package config

import (
	"slices"
	"strings"
)

// hint says what an unknown key of a section may have meant.
func hint(path, section string) string {
	var all, here []string
	for _, f := range fields {
		all = append(all, f.key)
		if s := f.section(); s == section {
			here = append(here, f.name())
		} else if !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	if near := nearest(path, all); near != "" {
		return "did you mean " + near + "?"
	}
	return "keys here are " + strings.Join(here, ", ")
}

// nearest returns the name that is the fewest edits away from the key, "" if all
// are too far for that to be what was meant. The right name in a wrong section
// counts as one edit.
func nearest(key string, names []string) string {
	plain := strings.NewReplacer(".", "", "_", "", "-", "")
	best, fewest := "", max(2, len(key)/2)+1
	for _, name := range names {
		d := edits(strings.ToLower(plain.Replace(key)), strings.ToLower(plain.Replace(name)))
		if last(key) == last(name) {
			d = min(d, 1)
		}
		if d < fewest {
			best, fewest = name, d
		}
	}
	return best
}

func last(key string) string { return key[strings.LastIndexByte(key, '.')+1:] }

// edits is the Levenshtein distance: the fewest insertions, deletions and
// replacements of bytes that make a into b.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
