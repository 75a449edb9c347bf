package topics_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"tidings/topics"
)

func TestMatch(t *testing.T) {
	for _, tt := range []struct {
		filter, topic string
		want          bool
	}{
		{"a", "a", true},
		{"a", "b", false},
		{"a", "ab", false},
		{"ab", "a", false},
		{"a/b", "a/b", true},
		{"a/b", "a", false},
		{"a", "a/b", false},
		{"a/", "a", false},
		{"a/", "a/", true},
		{"a/+", "a", false},
		{"a/+", "a/", true},
		{"a/+", "a/b", true},
		{"a/+", "a/b/c", false},
		{"a/+/c", "a/b/c", true},
		{"a/+/c", "a//c", true},
		{"a/+/c", "a/b/d", false},
		{"+", "a", true},
		{"+", "/a", false},
		{"+/+", "/a", true},
		{"/+", "/a", true},
		{"#", "a/b/c", true},
		{"#", "/", true},
		{"a/#", "a", true},
		{"a/#", "a/", true},
		{"a/#", "a/b/c", true},
		{"a/#", "ab", false},
		{"a/+/#", "a", false},
		{"a/+/#", "a/b", true},
		{"+/#", "a", true},
		{"#", "$SYS/a", false},
		{"+/a", "$SYS/a", false},
		{"$SYS/#", "$SYS/a", true},
		{"$SYS/+", "$SYS/a", true},
		{"a/#", "a/$SYS", true},
		{"", "a", false},
		{"a", "", false},
	} {
		if got := topics.Match(tt.filter, []byte(tt.topic)); got != tt.want {
			t.Errorf("Match(%q, %q) = %v", tt.filter, tt.topic, got)
		}
	}
}

func TestValid(t *testing.T) {
	for _, tt := range []struct {
		s            string
		name, filter bool
	}{
		{"", false, false},
		{"a", true, true},
		{"/", true, true},
		{"$SYS/x", true, true},
		{"a b/ö", true, true},
		{"\x00", false, false},
		{"a\xff", false, false},
		{"\xed\xa0\x80", false, false}, // a surrogate
		{"+", false, true},
		{"#", false, true},
		{"a/+/#", false, true},
		{"+/+", false, true},
		{"/#", false, true},
		{"a#", false, false},
		{"a+", false, false},
		{"+a", false, false},
		{"a/#/", false, false},
		{"##", false, false},
		{"#/a", false, false},
		{"++", false, false},
		{"a/b+/c", false, false},
		{strings.Repeat("a", 65535), true, true},
		{strings.Repeat("a", 65536), false, false},
	} {
		if got := topics.ValidTopicName(tt.s); got != tt.name {
			t.Errorf("ValidTopicName(%.40q) = %v", tt.s, got)
		}
		if got := topics.ValidFilter([]byte(tt.s)); got != tt.filter {
			t.Errorf("ValidFilter(%.40q) = %v", tt.s, got)
		}
	}
}

func naiveValidFilter(s string) bool {
	if s == "" || len(s) > 65535 || !utf8.ValidString(s) || strings.Contains(s, "\x00") {
		return false
	}
	levels := strings.Split(s, "/")
	for i, l := range levels {
		if l == "+" || l == "#" && i == len(levels)-1 {
			continue
		}
		if strings.ContainsAny(l, "+#") {
			return false
		}
	}
	return true
}

// naiveMatch is Match as the specification tells it.
func naiveMatch(filter, topic string) bool {
	if filter == "" || topic == "" {
		return false
	}
	if topic[0] == '$' && (filter[0] == '+' || filter[0] == '#') {
		return false
	}
	fs, ts := strings.Split(filter, "/"), strings.Split(topic, "/")
	for i, f := range fs {
		if f == "#" {
			return len(ts) >= i
		}
		if i >= len(ts) || f != "+" && f != ts[i] {
			return false
		}
	}
	return len(fs) == len(ts)
}

func FuzzMatch(f *testing.F) {
	f.Add("a/+/#", "a/b")
	f.Add("+/a", "$SYS/a")
	f.Add("/#", "/")
	f.Add("a/b#", "a/b")
	f.Fuzz(func(t *testing.T, filter, topic string) {
		if got, want := topics.ValidFilter(filter), naiveValidFilter(filter); got != want {
			t.Fatalf("ValidFilter(%q) = %v, want %v", filter, got, want)
		}
		wantName := naiveValidFilter(topic) && !strings.ContainsAny(topic, "+#")
		if got := topics.ValidTopicName(topic); got != wantName {
			t.Fatalf("ValidTopicName(%q) = %v, want %v", topic, got, wantName)
		}
		got := topics.Match(filter, topic) // must not panic on anything
		if naiveValidFilter(filter) && wantName && got != naiveMatch(filter, topic) {
			t.Fatalf("Match(%q, %q) = %v", filter, topic, got)
		}
	})
}
