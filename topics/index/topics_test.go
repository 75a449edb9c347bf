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

type names = index.Topics[int]

// selected returns the topics that a filter matches, in order, as topic=value.
func selected(x *names, filter string) []string {
	found := []string{}
	x.Match(filter, func(topic string, v int) bool {
		found = append(found, fmt.Sprint(topic, "=", v))
		return true
	})
	return found
}

func TestTopicsMatch(t *testing.T) {
	all := []string{
		"a/b/c", "a/b/d", "a", "a/b", "/", "//", "a/", "a//", "b/b/c", "$x", "$x/a", "$y/a/b", "/$x", "b", "ab", "ab/c/d/e", "a/b/c/d",
	}
	var x names
	for i, topic := range all {
		if _, had := x.Set(topic, i); had {
			t.Fatalf("%q was there", topic)
		}
		check(t, &x)
	}
	for _, filter := range []string{
		"#", "+", "+/+", "+/#", "+/+/#", "/", "/#", "/+", "//#", "a", "a/#", "a/+", "a/b/#", "a/+/c", "a/b/c", "a/b/c/#", "+/b/c", "+/b/+",
		"$x", "$x/#", "$x/+", "$y/#", "$y/+/b", "ab/#", "ab/c/#", "ab/+/d/+", "ab/c/d", "c", "c/#", "a/b/c/d/e", "+/+/+/+/+", "",
	} {
		want := []string{}
		for i, topic := range all {
			if topics.Match(filter, topic) {
				want = append(want, fmt.Sprint(topic, "=", i))
			}
		}
		got := selected(&x, filter)
		if again := selected(&x, filter); !cmp.Equal(got, again) {
			t.Errorf("%q: order changes: %q, then %q", filter, got, again)
		}
		slices.Sort(got)
		slices.Sort(want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", filter, diff)
		}
	}
	for i, topic := range all {
		if v, ok := x.Get([]byte(topic)); !ok || v != i {
			t.Errorf("Get(%q) = %d, %v", topic, v, ok)
		}
		if old, had := x.Set(topic, -1); !had || old != i {
			t.Errorf("Set(%q) = %d, %v", topic, old, had)
		}
		if old, had := x.Delete(topic); !had || old != -1 {
			t.Errorf("Delete(%q) = %d, %v", topic, old, had)
		}
		if _, had := x.Delete(topic); had {
			t.Errorf("%q is still there", topic)
		}
		if _, ok := x.Get([]byte(topic)); ok || x.Len() != len(all)-i-1 {
			t.Errorf("%q is got, Len %d", topic, x.Len())
		}
		check(t, &x)
	}
	if x.Nodes() != 0 {
		t.Errorf("%d nodes are left", x.Nodes())
	}
}

func TestTopicsMatchOrderAndEnd(t *testing.T) {
	var x names
	for i, topic := range []string{"o/b", "o/a/2", "o/a/1", "o/a", "o/c", "$x"} {
		x.Set(topic, i)
	}
	want := []string{"o/b=0", "o/a=3", "o/a/2=1", "o/a/1=2", "o/c=4"}
	for _, filter := range []string{"#", "o/#", "+/#", "+/+/#"} {
		if diff := cmp.Diff(want, selected(&x, filter)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", filter, diff)
		}
		for stop := range want {
			n := 0
			x.Match(filter, func(string, int) bool { n++; return n <= stop })
			if n != stop+1 {
				t.Errorf("%q: %d calls, want %d", filter, n, stop+1)
			}
		}
	}
}

func TestTopicsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var x names
		model := map[string]int{}
		t.Repeat(map[string]func(*rapid.T){
			"set": func(t *rapid.T) {
				topic, v := genTopic(t), rapid.IntRange(0, 9).Draw(t, "v")
				want, wantHad := model[topic]
				if old, had := x.Set(topic, v); old != want || had != wantHad {
					t.Fatalf("Set(%q) = %d, %v", topic, old, had)
				}
				model[topic] = v
			},
			"delete": func(t *rapid.T) {
				topic := genTopic(t)
				want, wantHad := model[topic]
				if old, had := x.Delete(topic); old != want || had != wantHad {
					t.Fatalf("Delete(%q) = %d, %v", topic, old, had)
				}
				delete(model, topic)
			},
			"get": func(t *rapid.T) {
				topic := genTopic(t)
				want, wantOK := model[topic]
				if v, ok := x.Get([]byte(topic)); v != want || ok != wantOK {
					t.Fatalf("Get(%q) = %d, %v", topic, v, ok)
				}
			},
			"match": func(t *rapid.T) {
				filter, want := genFilter(t), []string{}
				for topic, v := range model {
					if topics.Match(filter, topic) {
						want = append(want, fmt.Sprint(topic, "=", v))
					}
				}
				got := selected(&x, filter)
				slices.Sort(want)
				slices.Sort(got)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Fatalf("%q (-want +got):\n%s", filter, diff)
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

// FuzzTopics puts the lines of a text in as topics and compares with topics.Match.
func FuzzTopics(f *testing.F) {
	f.Add("a/b/c\na/b\n$x/a\n/", "+/b/#")
	f.Add("/\n//\na//b", "/#")
	f.Add("a/b/c\na/b/d\na", "a/+/d")
	f.Fuzz(func(t *testing.T, text, filter string) {
		if !topics.ValidFilter(filter) {
			t.Skip("only filters are looked up")
		}
		var x names
		want := map[string]bool{}
		for topic := range strings.Lines(text) {
			if topic = strings.TrimSuffix(topic, "\n"); topics.ValidTopicName(topic) {
				x.Set(topic, 0)
				want[topic] = topics.Match(filter, topic)
			}
		}
		check(t, &x)
		x.Match(filter, func(topic string, _ int) bool {
			if !want[topic] {
				t.Errorf("%q matches %q, once too often", filter, topic)
			}
			want[topic] = false
			return true
		})
		for topic, missing := range want {
			if missing {
				t.Errorf("%q does not match %q", filter, topic)
			}
			if _, had := x.Delete(topic); !had {
				t.Errorf("%q is lost", topic)
			}
			check(t, &x)
		}
		if x.Nodes() != 0 {
			t.Errorf("%d nodes are left", x.Nodes())
		}
	})
}

// A deep topic costs one node, and what its beginnings have cost goes with them.
func TestTopicsDeep(t *testing.T) {
	deep := strings.Repeat("a/", 32767) + "a"
	var x names
	x.Set(deep, 1)
	if x.Nodes() != 1 {
		t.Errorf("%d nodes for one topic", x.Nodes())
	}
	for _, filter := range []string{"#", "+/#", strings.Repeat("+/", 32767) + "+", deep, deep + "/#", "a/#"} {
		if got := selected(&x, filter); len(got) != 1 {
			t.Errorf("%.20q: %d matches", filter, len(got))
		}
	}
	const steps = 1500
	for i := range steps {
		x.Set(deep[:2*i+1], i)
		check := x.Nodes()
		if check != i+2 {
			t.Fatalf("%d nodes after %d topics", check, i+2)
		}
	}
	if got := selected(&x, strings.Repeat("+/", 100)+"+/#"); len(got) != steps-100+1 {
		t.Errorf("%d matches, want %d", len(got), steps-100+1)
	}
	for i := range steps {
		x.Delete(deep[:2*i+1])
	}
	check(t, &x)
	if x.Nodes() != 1 || len(selected(&x, deep)) != 1 {
		t.Errorf("%d nodes are left", x.Nodes())
	}
}

func TestTopicsAllocateNothing(t *testing.T) {
	var x names
	for i := range 1000 {
		x.Set(fmt.Sprintf("open/%d/lamp/state", i), i)
	}
	topic, found := []byte("open/500/lamp/state"), 0
	if n := testing.AllocsPerRun(100, func() {
		if v, _ := x.Get(topic); v != 500 {
			t.Error("lost")
		}
		x.Match("open/+/lamp/#", func(_ string, v int) bool { found += v; return true })
	}); n != 0 || found == 0 {
		t.Errorf("%v allocations, %d found", n, found)
	}
}

func BenchmarkTopics(b *testing.B) {
	var x names
	const n = 100_000
	for i := range n {
		x.Set(fmt.Sprintf("open/site%d/dev%d/temperature", i%100, i/100), i)
	}
	for _, bench := range []struct {
		filter string
		want   int
	}{{"open/site7/dev8/temperature", 1}, {"open/site7/dev8/#", 1}, {"open/+/dev8/+", 100}, {"#", n}} {
		b.Run(strings.ReplaceAll(bench.filter, "/", "."), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				found := 0
				x.Match(bench.filter, func(string, int) bool { found++; return true })
				if found != bench.want {
					b.Fatalf("%d found", found)
				}
			}
		})
	}
}
