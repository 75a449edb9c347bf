package config

import (
	"errors"
	"strings"
)

// Problem is one thing that is wrong with a configuration.
type Problem struct {
	Where string // "tidings.yaml:12", "TIDINGS_LIMITS_BODY", "--limits-body"; "" where it is a default
	Key   string // of the setting, "" where it is about none
	Text  string // what is wrong, for people

	item int // which one of a list it is about, from 1; 0 where it is about none
}

// Error returns place, key and text.
func (p *Problem) Error() string {
	parts := make([]string, 0, 3)
	for _, s := range []string{p.Where, p.Key, p.Text} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, ": ")
}

func join(ps []*Problem) error {
	errs := make([]error, len(ps))
	for i, p := range ps {
		errs[i] = p
	}
	return errors.Join(errs...)
}
