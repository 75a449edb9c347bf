package api

import (
	"slices"
	"strings"
)

// Bounds of a page of names.
const (
	defaultPage = 100
	maxPage     = 1000
)

func pageSize(limit int) int {
	if limit <= 0 {
		return defaultPage
	}
	return min(limit, maxPage)
}

// page sorts a list by name and returns the part behind after, at most limit long,
// with the name to go on after, "" if that was the last page.
func page[T any](list []T, name func(T) string, after string, limit int) (part []T, next string) {
	slices.SortFunc(list, func(a, b T) int { return strings.Compare(name(a), name(b)) })
	from := 0
	if after != "" {
		from = len(list)
		for i := range list {
			if name(list[i]) > after {
				from = i
				break
			}
		}
	}
	part = list[from:]
	if limit = pageSize(limit); len(part) > limit {
		part = part[:limit]
		next = name(part[limit-1])
	}
	return part, next
}
