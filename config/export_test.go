package config

// What tests look at from inside.
var (
	DefaultsFile = defaultsFile
	Edits        = edits
	NodeName     = nodeName
)

// OpenExample is the example of open topics in the document.
const OpenExample = openExample

// Key is one setting as tests see it.
type Key struct{ Key, Env, Flag, Doc, Default, Auto string }

// Keys returns all settings.
func Keys() []Key {
	var ks []Key
	for _, f := range fields {
		ks = append(ks, Key{f.key, f.env(), f.flag(), f.doc, f.def, f.auto})
		if f.min != "" {
			f.bound(f.min) // panics if it cannot be read
		}
		if f.max != "" {
			f.bound(f.max)
		}
	}
	return ks
}
