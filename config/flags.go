package config

import (
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// flagValue is a pflag.Value that keeps what was given. It is read by Load, so
// that a bad value is reported together with all other problems.
type flagValue struct {
	field *field
	kind  string
	given []string
}

// Set implements pflag.Value.
func (v *flagValue) Set(text string) error {
	v.given = append(v.given, text)
	return nil
}

// String implements pflag.Value: what was given, else the default.
func (v *flagValue) String() string {
	if len(v.given) > 0 {
		return v.text()
	}
	return v.field.def
}

// Type implements pflag.Value.
func (v *flagValue) Type() string { return v.kind }

// text is the last value given, or all of them for a list.
func (v *flagValue) text() string {
	if v.kind == "list" {
		return strings.Join(v.given, ",")
	}
	return v.given[len(v.given)-1]
}

// RegisterFlags puts a flag on the set for each of these keys, or for every
// setting if none is given. An unknown key panics.
func RegisterFlags(set *pflag.FlagSet, keys ...string) {
	for _, key := range keys {
		if fieldByKey(key) == nil {
			panic("config: no setting " + key)
		}
	}
	var c Config
	for i := range fields {
		f := &fields[i]
		if len(keys) > 0 && !slices.Contains(keys, f.key) {
			continue
		}
		usage := f.doc
		if f.auto != "" {
			usage += " Default: " + f.auto + "."
		}
		set.Var(&flagValue{field: f, kind: typeName(f.of(&c))}, f.flag(), usage)
	}
}

func (l *loader) readFlags(set *pflag.FlagSet) {
	if set == nil {
		return
	}
	set.Visit(func(fl *pflag.Flag) {
		if v, ok := fl.Value.(*flagValue); ok {
			l.set(v.field, "--"+fl.Name, v.text())
		}
	})
}
