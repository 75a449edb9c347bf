package config

import (
	"reflect"
	"slices"
	"strings"
)

// field is one setting: a leaf of Config.
type field struct {
	key            string // dotted
	index          []int  // for reflect.Value.FieldByIndex
	doc, def, auto string
	min, max       string // "" where there is no bound
	oneof          []string
}

// fields are all settings in the order of the struct. Never changed.
var fields = collect(reflect.TypeFor[Config](), "", nil)

func collect(t reflect.Type, prefix string, index []int) []field {
	var fs []field
	for i := range t.NumField() {
		sf := t.Field(i)
		key := prefix + sf.Tag.Get("yaml")
		at := append(slices.Clip(index), i)
		if sf.Type.Kind() == reflect.Struct {
			fs = append(fs, collect(sf.Type, key+".", at)...)
			continue
		}
		fs = append(fs, field{
			key: key, index: at,
			doc: sf.Tag.Get("doc"), def: sf.Tag.Get("default"), auto: sf.Tag.Get("auto"),
			min: sf.Tag.Get("min"), max: sf.Tag.Get("max"), oneof: strings.Fields(sf.Tag.Get("oneof")),
		})
	}
	return fs
}

// of returns the field within c, settable.
func (f field) of(c *Config) reflect.Value {
	return reflect.ValueOf(c).Elem().FieldByIndex(f.index)
}

// flag is the name of the flag, without dashes.
func (f field) flag() string { return strings.NewReplacer(".", "-", "_", "-").Replace(f.key) }

// env is the name of the variable.
func (f field) env() string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(f.key, ".", "_"))
}

const envPrefix = "TIDINGS_"

// section is the part of the key before its last dot.
func (f field) section() string {
	i := strings.LastIndexByte(f.key, '.')
	if i < 0 {
		return ""
	}
	return f.key[:i]
}

func (f field) name() string { return f.key[strings.LastIndexByte(f.key, '.')+1:] }

// fieldByKey returns the field of a key, nil if there is none.
func fieldByKey(key string) *field {
	for i := range fields {
		if fields[i].key == key {
			return &fields[i]
		}
	}
	return nil
}

// isSection tells whether keys begin with this one.
func isSection(key string) bool {
	for _, f := range fields {
		if strings.HasPrefix(f.key, key+".") {
			return true
		}
	}
	return false
}
