package topics_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"tidings/topics"
)

func TestOpen(t *testing.T) {
	o, err := topics.NewOpen([]string{"open/#", "site/+/dev", "/x", "uu/1"})
	if err != nil {
		t.Fatal(err)
	}
	for topic, want := range map[string]bool{
		"open": true, "open/": true, "open/a/b": true, "site/1/dev": true, "site//dev": true, "/x": true, "uu/1": true,
		"opened": false, "site/1": false, "site/1/dev/2": false, "x": false, "/": false, "u/bob": false, "g/team": false,
		"rpc/history": false, "$SYS/x": false, "$open/a": false, "$share/a/open/b": false, "": false,
	} {
		if got := o.Has([]byte(topic)); got != want {
			t.Errorf("Has(%q) = %v", topic, got)
		}
	}
	for filter, want := range map[string]bool{
		"#": true, "+/#": true, "+": true, "+/+": true, "+/+/+/+": true, "open": true, "open/#": true, "open/a": true, "op/#": false,
		"site/1/dev": true, "site/+/+": true, "site/#": true, "site/1/#": true, "site/1": false, "site": false, "/+": true, "/#": true, "/y": false,
		"+/x": true, "u/bob": false, "u/#": false, "g/#": false, "rpc/#": false, "$SYS/#": false, "$share/a/open/b": false, "uu/+": true,
		"uu/2": false, "": false, "a#": false, "open/a#": false,
	} {
		if got := o.Overlaps(filter); got != want {
			t.Errorf("Overlaps(%q) = %v", filter, got)
		}
	}
	var zero topics.Open
	if zero.Has([]byte("open/a")) || zero.Overlaps("#") {
		t.Error("the zero Open has topics")
	}
	var none *topics.Open
	if none.Has([]byte("open/a")) || none.Overlaps("#") {
		t.Error("a nil Open has topics")
	}
}

func TestAnyOpen(t *testing.T) {
	o := topics.AnyOpen()
	for topic, want := range map[string]bool{
		"a": true, "/": true, "uu/x": true, "rpc/history": true, "$x": true, "$x/y": true, "a/u": true, "/u": true,
		"u": false, "g": false, "u/": false, "u/bob": false, "g/team/x": false, "$SYS": false, "$SYS/x": false, "$share": false, "$share/a/b": false, "": false,
	} {
		if got := o.Has([]byte(topic)); got != want {
			t.Errorf("Has(%q) = %v", topic, got)
		}
	}
	for filter, want := range map[string]bool{
		"#": true, "+": true, "+/bob": true, "a/#": true, "rpc/#": true, "uu/#": true, "$x/#": true, "/u": true,
		"u": false, "u/#": false, "u/bob": false, "g/+": false, "": false, "a#": false, "a/\x00": false,
	} {
		if got := o.Overlaps(filter); got != want {
			t.Errorf("Overlaps(%q) = %v", filter, got)
		}
	}
}

func TestNewOpenRefuses(t *testing.T) {
	for filter, want := range map[string]string{
		"":            "not a valid topic filter",
		"a#":          "not a valid topic filter",
		"a/#/b":       "not a valid topic filter",
		"a\xff":       "not a valid topic filter",
		"#":           "first level must be a name",
		"+":           "first level must be a name",
		"+/a":         "first level must be a name",
		"u":           "u/… cannot be open",
		"u/#":         "u/… cannot be open",
		"u/bob/x":     "u/… cannot be open",
		"g/+":         "g/… cannot be open",
		"rpc/x":       "rpc/… cannot be open",
		"rpc":         "rpc/… cannot be open",
		"$SYS/#":      "begins with $",
		"$share/a/b":  "begins with $",
		"$SYSTEM":     "begins with $",
		"$open/peers": "begins with $",
	} {
		o, err := topics.NewOpen([]string{"open/#", filter})
		line, ok := errors.AsType[*topics.LineError](err)
		if !ok || line.Line != 2 || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "line 2: ") {
			t.Errorf("NewOpen(%q): %v, want %q", filter, err, want)
		}
		if o.Has([]byte("open/a")) {
			t.Errorf("NewOpen(%q) refuses and yet opens", filter)
		}
	}
	_, err := topics.NewOpen([]string{"#", "a", "u/#"})
	if err == nil || strings.Count(err.Error(), "\n") != 1 || !strings.Contains(err.Error(), "line 1: ") || !strings.Contains(err.Error(), "line 3: ") {
		t.Errorf("not every problem is told: %v", err)
	}
}

func TestParseShared(t *testing.T) {
	for _, tt := range []struct {
		filter, share, rest string
		shared, ok          bool
	}{
		{"$share/a/b", "a", "b", true, true},
		{"$share/a/#", "a", "#", true, true},
		{"$share/a/+/x/#", "a", "+/x/#", true, true},
		{"$share/a//", "a", "/", true, true},
		{"$share/a/ ", "a", " ", true, true},
		{"$share/$x/$SYS/#", "$x", "$SYS/#", true, true},
		{"$share/ä b/c", "ä b", "c", true, true},
		{"$share", "", "", false, false},
		{"$share/", "", "", true, false},
		{"$share//", "", "", true, false},
		{"$share//a", "", "", true, false},
		{"$share/a", "", "", true, false},
		{"$share/a/", "", "", true, false},
		{"$share/+/a", "", "", true, false},
		{"$share/#", "", "", true, false},
		{"$share/#/a", "", "", true, false},
		{"$share/a+/b", "", "", true, false},
		{"$share/a#/b", "", "", true, false},
		{"$share/a/b#", "", "", true, false},
		{"$share/a/#/b", "", "", true, false},
		{"$share/a/\x00", "", "", true, false},
		{"$share/\xff/a", "", "", true, false},
		{"$Share/a/b", "", "", false, false},
		{"$shared/a/b", "", "", false, false},
		{"a/b", "", "", false, false},
		{"", "", "", false, false},
	} {
		share, rest, ok := topics.ParseShared(tt.filter)
		if share != tt.share || rest != tt.rest || ok != tt.ok || topics.IsShared(tt.filter) != tt.shared {
			t.Errorf("ParseShared(%q) = %q, %q, %v; IsShared %v", tt.filter, share, rest, ok, topics.IsShared(tt.filter))
		}
	}
}

// words returns all filters or topics of one to n levels, each one of some.
func words(n int, levels ...string) []string {
	var all []string
	last := []string{""}
	for i := range n {
		var next []string
		for _, prefix := range last {
			for _, l := range levels {
				if i == 0 {
					next = append(next, l)
				} else {
					next = append(next, prefix+"/"+l)
				}
			}
		}
		all, last = append(all, next...), next
	}
	return all
}

// Filters overlap or cover one another as the topics say that they match.
func TestRelations(t *testing.T) {
	filters := slices.DeleteFunc(words(3, "a", "", "$x", "+", "#"), func(f string) bool { return !topics.ValidFilter(f) })
	names := slices.DeleteFunc(words(4, "a", "z", "", "$x"), func(s string) bool { return !topics.ValidTopicName(s) })
	names = append(names, "$z", "$z/a", "$z/a/a", "$z/z/z") // other names that begin with $
	matches := make([][]bool, len(filters))
	for i, f := range filters {
		for _, name := range names {
			matches[i] = append(matches[i], topics.Match(f, name))
		}
	}
	for i, a := range filters {
		for j, b := range filters {
			overlap, covers := false, true
			for k := range names {
				overlap = overlap || matches[i][k] && matches[j][k]
				covers = covers && (matches[i][k] || !matches[j][k])
			}
			if got := topics.Overlap(a, b); got != overlap {
				t.Errorf("overlap(%q, %q) = %v", a, b, got)
			}
			if got := topics.Covers(a, b); got != covers {
				t.Errorf("covers(%q, %q) = %v", a, b, got)
			}
		}
	}
}

func TestOpenAllocatesNothing(t *testing.T) {
	o, err := topics.NewOpen([]string{"site/+/x", "open/#"})
	if err != nil {
		t.Fatal(err)
	}
	any, topic := topics.AnyOpen(), []byte("open/home/lamp/set")
	if n := testing.AllocsPerRun(100, func() {
		if !o.Has(topic) || !any.Has(topic) || !o.Overlaps("+/home/#") {
			t.Error("not open")
		}
		if _, _, ok := topics.ParseShared("$share/a/open/#"); !ok {
			t.Error("not shared")
		}
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

// FuzzNewOpen checks that what is granted opens no topic of the platform, and that
// Has and Overlaps agree.
func FuzzNewOpen(f *testing.F) {
	f.Add("open/#", "open/a")
	f.Add("+/a", "u/a")
	f.Add("$SYS/#", "$SYS/a")
	f.Add("u/a", "u/a")
	f.Fuzz(func(t *testing.T, filter, topic string) {
		o, err := topics.NewOpen([]string{filter})
		if err != nil {
			if _, ok := errors.AsType[*topics.LineError](err); !ok {
				t.Fatalf("error is a %T", err)
			}
			return
		}
		if !o.Overlaps(filter) || !o.Overlaps("#") {
			t.Fatalf("%q does not overlap with itself or #", filter)
		}
		if !topics.ValidTopicName(topic) {
			return
		}
		has := o.Has([]byte(topic))
		if has != topics.Match(filter, topic) || has != o.Overlaps(topic) {
			t.Fatalf("%q: Has(%q) = %v, Overlaps %v", filter, topic, has, o.Overlaps(topic))
		}
		if has && (topics.Parse(topic).Kind != topics.None || topic[0] == '$') {
			t.Fatalf("%q opens %q", filter, topic)
		}
	})
}

func FuzzParseShared(f *testing.F) {
	for _, s := range []string{"$share/a/b", "$share//b", "$share/+/b", "$share/a/", "a/b", "$share/a/#/c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		share, rest, ok := topics.ParseShared(s)
		parts := strings.SplitN(s, "/", 3)
		want := len(parts) == 3 && parts[0] == "$share" && parts[1] != "" && !strings.ContainsAny(parts[1], "+#") &&
			topics.ValidFilter(parts[2]) && topics.ValidFilter(s)
		if ok != want {
			t.Fatalf("ParseShared(%q) = %v", s, ok)
		}
		if ok && (share != parts[1] || rest != parts[2] || !topics.IsShared(s)) {
			t.Fatalf("ParseShared(%q) = %q, %q", s, share, rest)
		}
	})
}
