package index_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"tidings/topics"
	"tidings/topics/index"
)

type filters = index.Filters[string, int]

// matches returns the subscribers that a topic has, sorted, as k=v.
func matches(x *filters, topic string) []string {
	found := []string{}
	x.Match([]byte(topic), func(k string, v int) { found = append(found, fmt.Sprint(k, "=", v)) })
	slices.Sort(found)
	return found
}

func check(t interface{ Fatal(...any) }, x interface{ Check() error }) {
	if err := x.Check(); err != nil {
		t.Fatal(err)
	}
}

func TestFiltersMatch(t *testing.T) {
	all := []string{
		"#", "+", "+/+", "/", "/+", "/#", "+/#", "a", "a/#", "a/+", "a/+/#", "a/b", "a/b/#", "a/b/c", "a/b/c/d",
		"a/+/c", "a//c", "a/", "a/+/", "$x", "$x/#", "$x/a", "$x/+", "+/a", "ab", "ab/c",
	}
	var x filters
	for i, f := range all {
		if x.Set(f, f, i) {
			t.Fatalf("%q was there", f)
		}
		check(t, &x)
	}
	for _, topic := range []string{
		"a", "a/b", "a/b/c", "a/b/c/d", "a/b/c/d/e", "a/", "a//", "a//c", "/", "//", "/a", "b", "b/a", "ab", "ab/c", "ab/c/d",
		"$x", "$x/a", "$x/b", "$x/a/b", "$y", "$y/a", "a/$x", "", "a/bc", "aa", "a/b/cc",
	} {
		want := []string{}
		for i, f := range all {
			if topics.Match(f, topic) {
				want = append(want, fmt.Sprint(f, "=", i))
			}
		}
		slices.Sort(want)
		if diff := cmp.Diff(want, matches(&x, topic)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", topic, diff)
		}
	}
	for i, f := range all {
		if x.Len() != len(all)-i {
			t.Errorf("Len = %d, want %d", x.Len(), len(all)-i)
		}
		if !x.Delete(f, f) || x.Delete(f, f) {
			t.Errorf("%q was not there exactly once", f)
		}
		check(t, &x)
	}
	if x.Len() != 0 || x.Nodes() != 0 {
		t.Errorf("%d subscriptions and %d nodes are left", x.Len(), x.Nodes())
	}
}

func TestFiltersReplace(t *testing.T) {
	var x filters
	x.Set("a/+", "k", 1)
	if !x.Set("a/+", "k", 2) || x.Len() != 1 {
		t.Error("the second Set does not find the first")
	}
	if got := matches(&x, "a/b"); !cmp.Equal(got, []string{"k=2"}) {
		t.Errorf("matches = %q", got)
	}
	for _, filter := range []string{"a", "a/+/b", "a/b", "a/#", "#", "+"} {
		if x.Delete(filter, "k") {
			t.Errorf("%q was there", filter)
		}
	}
	if x.Delete("a/+", "other") {
		t.Error("another subscriber was there")
	}
}

// Many subscribers of one filter come and go, in an order unlike that of their coming.
func TestFiltersManySubscribers(t *testing.T) {
	const many = 200
	var x index.Filters[int, int]
	for i := range many {
		x.Set("a/#", i, i)
	}
	for i := range many {
		if !x.Set("a/#", i, -i) {
			t.Fatalf("%d is lost", i)
		}
	}
	left := many
	for i := range many {
		if k := i * 7 % many; !x.Delete("a/#", k) || x.Delete("a/#", k) {
			t.Fatalf("%d was not there once", k)
		}
		left--
		n := 0
		x.Match([]byte("a/b"), func(k, v int) {
			if v != -k {
				t.Fatalf("%d has %d", k, v)
			}
			n++
		})
		if n != left || x.Len() != left {
			t.Fatalf("%d matches, Len %d, want %d", n, x.Len(), left)
		}
	}
}

// genLevel makes levels that are often the same.
func genLevel(more ...string) *rapid.Generator[string] {
	return rapid.SampledFrom(append([]string{"a", "b", "c", "", "ab", "$x"}, more...))
}

func genTopic(t *rapid.T) string {
	topic := strings.Join(rapid.SliceOfN(genLevel(), 1, 6).Draw(t, "topic"), "/")
	if topic == "" {
		return "/"
	}
	return topic
}

func genFilter(t *rapid.T) string {
	levels := rapid.SliceOfN(genLevel("+", "+"), 0, 6).Draw(t, "filter")
	if len(levels) == 0 || rapid.Bool().Draw(t, "hash") {
		levels = append(levels, "#")
	}
	if f := strings.Join(levels, "/"); f != "" {
		return f
	}
	return "/"
}

func TestFiltersModel(t *testing.T) {
	type sub struct{ filter, k string }
	rapid.Check(t, func(t *rapid.T) {
		var x filters
		model := map[sub]int{}
		draw := func(t *rapid.T) sub {
			if len(model) > 0 && rapid.Bool().Draw(t, "known") {
				known := make([]sub, 0, len(model))
				for s := range model {
					known = append(known, s)
				}
				slices.SortFunc(known, func(a, b sub) int { return strings.Compare(a.filter+" "+a.k, b.filter+" "+b.k) })
				return rapid.SampledFrom(known).Draw(t, "sub")
			}
			return sub{genFilter(t), rapid.SampledFrom([]string{"k", "l", "m"}).Draw(t, "k")}
		}
		t.Repeat(map[string]func(*rapid.T){
			"set": func(t *rapid.T) {
				s, v := draw(t), rapid.IntRange(0, 9).Draw(t, "v")
				_, want := model[s]
				if had := x.Set(s.filter, s.k, v); had != want {
					t.Fatalf("Set(%v) = %v", s, had)
				}
				model[s] = v
			},
			"delete": func(t *rapid.T) {
				s := draw(t)
				_, want := model[s]
				if had := x.Delete(s.filter, s.k); had != want {
					t.Fatalf("Delete(%v) = %v", s, had)
				}
				delete(model, s)
			},
			"match": func(t *rapid.T) {
				topic, want := genTopic(t), []string{}
				for s, v := range model {
					if topics.Match(s.filter, topic) {
						want = append(want, fmt.Sprint(s.k, "=", v))
					}
				}
				slices.Sort(want)
				if diff := cmp.Diff(want, matches(&x, topic)); diff != "" {
					t.Fatalf("%q (-want +got):\n%s", topic, diff)
				}
			},
			"": func(t *rapid.T) {
				check(t, &x)
				if x.Len() != len(model) {
					t.Fatalf("Len = %d, want %d", x.Len(), len(model))
				}
			},
		})
	})
}

// FuzzFilters puts the lines of a text in as filters and compares with topics.Match.
func FuzzFilters(f *testing.F) {
	f.Add("a/+/#\na/b\n#\n+", "a/b")
	f.Add("$SYS/#\n+/a\n/\n//#", "/")
	f.Add("a/b/c\na/b/d\na/+/c\na/b", "a/b/c")
	f.Fuzz(func(t *testing.T, text, topic string) {
		if !topics.ValidTopicName(topic) {
			t.Skip("only topic names are looked up")
		}
		var x filters
		want := map[string]bool{}
		for filter := range strings.Lines(text) {
			if filter = strings.TrimSuffix(filter, "\n"); topics.ValidFilter(filter) {
				x.Set(filter, filter, 0)
				want[filter] = topics.Match(filter, topic)
			}
		}
		check(t, &x)
		x.Match([]byte(topic), func(filter string, _ int) {
			if !want[filter] {
				t.Errorf("%q matches %q, once too often", filter, topic)
			}
			want[filter] = false
		})
		for filter, missing := range want {
			if missing {
				t.Errorf("%q does not match %q", filter, topic)
			}
			if !x.Delete(filter, filter) {
				t.Errorf("%q is lost", filter)
			}
			check(t, &x)
		}
		if x.Nodes() != 0 {
			t.Errorf("%d nodes are left", x.Nodes())
		}
	})
}

// The deepest topics and filters that there can be, and every beginning of one.
func TestFiltersDeep(t *testing.T) {
	const levels = 32768
	deep := strings.Repeat("/", levels-1)
	pluses := strings.Repeat("+/", levels-1) + "+"
	var x filters
	x.Set(deep, "deep", 0)
	x.Set(pluses[:len(pluses)-2], "pluses", 0)
	x.Set(pluses[:len(pluses)-1]+"#", "pluses#", 0)
	if x.Nodes() > 6 {
		t.Errorf("%d nodes", x.Nodes())
	}
	if got := matches(&x, deep); !cmp.Equal(got, []string{"deep=0", "pluses#=0"}) {
		t.Errorf("matches = %q", got)
	}

	// A node for each level, and a wildcard beside each: the longest way there is.
	const steps = 1500
	var y filters
	for i := range steps {
		path := strings.Repeat("a/", i)
		y.Set(path+"a", "a", i)
		y.Set(path+"+/b", "+", i)
	}
	check(t, &y)
	if got := matches(&y, strings.Repeat("a/", steps-1)+"a"); len(got) != 1 {
		t.Errorf("matches = %q", got)
	}
	if got := matches(&y, strings.Repeat("a/", steps-1)+"b"); len(got) != 1 {
		t.Errorf("matches = %q", got)
	}
	for i := range steps {
		path := strings.Repeat("a/", i)
		y.Delete(path+"a", "a")
		y.Delete(path+"+/b", "+")
	}
	if y.Nodes() != 0 {
		t.Errorf("%d nodes are left", y.Nodes())
	}
}

// All 2^n filters of "a" and "+" match: each once, and no more is looked at.
func TestFiltersAllBranches(t *testing.T) {
	const n = 10
	var x index.Filters[int, int]
	for bits := range 1 << n {
		levels := make([]string, n)
		for i := range levels {
			levels[i] = "a"
			if bits>>i&1 == 1 {
				levels[i] = "+"
			}
		}
		x.Set(strings.Join(levels, "/"), bits, 0)
	}
	seen := map[int]bool{}
	x.Match([]byte(strings.Repeat("a/", n-1)+"a"), func(k, _ int) { seen[k] = true })
	if len(seen) != 1<<n {
		t.Errorf("%d of %d match", len(seen), 1<<n)
	}
}

func TestFiltersMatchAllocatesNothing(t *testing.T) {
	var x filters
	for i := range 1000 {
		x.Set(fmt.Sprintf("open/%d/+/set", i), "k", i)
		x.Set(fmt.Sprintf("open/%d/#", i), "k", i)
	}
	x.Set("+/+/+/#", "k", 0)
	topic, found := []byte("open/500/lamp/set"), 0
	if n := testing.AllocsPerRun(100, func() {
		x.Match(topic, func(_ string, v int) { found += v })
	}); n != 0 || found == 0 {
		t.Errorf("%v allocations, %d found", n, found)
	}
}

func BenchmarkFilters(b *testing.B) {
	for _, n := range []int{100, 100_000} {
		var x filters
		for i := range n {
			x.Set(fmt.Sprintf("open/site%d/dev%d/+", i%100, i/100), "k", i)
		}
		topic := []byte("open/site7/dev0/temperature")
		b.Run(fmt.Sprintf("Match/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			found := 0
			for b.Loop() {
				x.Match(topic, func(string, int) { found++ })
			}
			if found != b.N {
				b.Fatalf("%d found in %d", found, b.N)
			}
		})
		b.Run(fmt.Sprintf("SetDelete/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				x.Set("open/site7/dev0/temperature", "k", 1)
				x.Delete("open/site7/dev0/temperature", "k")
			}
		})
	}
}
