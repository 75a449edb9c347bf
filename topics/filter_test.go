package topics_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tidings/topics"
)

func TestParseFilter(t *testing.T) {
	own := topics.KindsOf(topics.UserTyping, topics.Receipts, topics.Events, topics.Sent)
	direct, answer := topics.KindsOf(topics.User), topics.KindsOf(topics.UserRPC)
	group, typing := topics.KindsOf(topics.Group), topics.KindsOf(topics.GroupTyping)
	for _, tt := range []struct {
		filter string
		want   topics.Filter
	}{
		{"u/alice", topics.Filter{Kinds: direct}},
		{"u/alice/#", topics.Filter{Kinds: direct | own | answer, Answers: "#"}},
		{"u/alice/+", topics.Filter{Kinds: own}},
		{"u/alice/+/#", topics.Filter{Kinds: own | answer, Answers: "#"}},
		{"u/alice/+/+", topics.Filter{Kinds: answer, Answers: "+"}},
		{"u/alice/typing", topics.Filter{Kinds: topics.KindsOf(topics.UserTyping)}},
		{"u/alice/typing/#", topics.Filter{Kinds: topics.KindsOf(topics.UserTyping)}},
		{"u/alice/receipts", topics.Filter{Kinds: topics.KindsOf(topics.Receipts)}},
		{"u/alice/events", topics.Filter{Kinds: topics.KindsOf(topics.Events)}},
		{"u/alice/sent", topics.Filter{Kinds: topics.KindsOf(topics.Sent)}},
		{"u/alice/rpc/#", topics.Filter{Kinds: answer, Answers: "#"}},
		{"u/alice/rpc/+", topics.Filter{Kinds: answer, Answers: "+"}},
		{"u/alice/rpc/7", topics.Filter{Kinds: answer, Answers: "7"}},
		{"u/alice/rpc/app/+", topics.Filter{Kinds: answer, Answers: "app/+"}},
		{"u/alice/presence", topics.Filter{Kinds: topics.KindsOf(topics.Presence), User: "alice"}},
		{"u/bob/presence", topics.Filter{Kinds: topics.KindsOf(topics.Presence), User: "bob"}},
		{"g/+", topics.Filter{Kinds: group}},
		{"g/#", topics.Filter{Kinds: group | typing}},
		{"g/+/#", topics.Filter{Kinds: group | typing}},
		{"g/+/+", topics.Filter{Kinds: typing}},
		{"g/+/+/#", topics.Filter{Kinds: typing}},
		{"g/+/typing", topics.Filter{Kinds: typing}},
		{"g/team", topics.Filter{Kinds: group, Group: "team"}},
		{"g/team/#", topics.Filter{Kinds: group | typing, Group: "team"}},
		{"g/team/+", topics.Filter{Kinds: typing, Group: "team"}},
		{"g/team/typing", topics.Filter{Kinds: typing, Group: "team"}},
	} {
		got, err := topics.ParseFilter(tt.filter, "alice")
		if err != nil {
			t.Errorf("ParseFilter(%q): %v", tt.filter, err)
		} else if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("ParseFilter(%q) (-want +got):\n%s", tt.filter, diff)
		}
	}
}

func TestParseFilterRefuses(t *testing.T) {
	for _, tt := range []struct {
		filter string
		want   error
	}{
		{"", topics.ErrMalformedFilter},
		{"a#", topics.ErrMalformedFilter},
		{"u/alice/a+", topics.ErrMalformedFilter},
		{"u/#/typing", topics.ErrMalformedFilter},
		{"u/alice\x00", topics.ErrMalformedFilter},
		{"u/\xff", topics.ErrMalformedFilter},
		{"u/" + strings.Repeat("a/", 40_000), topics.ErrMalformedFilter},
		{"$share/g/u/alice", topics.ErrSharedSubscription},
		{"$share//", topics.ErrSharedSubscription},
		{"#", topics.ErrNotAllowed},
		{"+", topics.ErrNotAllowed},
		{"+/#", topics.ErrNotAllowed},
		{"+/alice", topics.ErrNotAllowed},
		{"u/#", topics.ErrNotAllowed},
		{"u/+", topics.ErrNotAllowed},
		{"u/+/#", topics.ErrNotAllowed},
		{"u/+/presence", topics.ErrNotAllowed},
		{"u/+/typing", topics.ErrNotAllowed},
		{"u/bob", topics.ErrNotAllowed},
		{"u/bob/#", topics.ErrNotAllowed},
		{"u/bob/+", topics.ErrNotAllowed},
		{"u/bob/typing", topics.ErrNotAllowed},
		{"u/bob/presence/#", topics.ErrNotAllowed},
		{"u/alic", topics.ErrNotAllowed},
		{"u/alicea", topics.ErrNotAllowed},
		{"$SYS/#", topics.ErrUnknownTopic},
		{"$share", topics.ErrUnknownTopic},
		{"u", topics.ErrUnknownTopic},
		{"g", topics.ErrUnknownTopic},
		{"/", topics.ErrUnknownTopic},
		{"rpc/#", topics.ErrUnknownTopic},
		{"news/#", topics.ErrUnknownTopic},
		{"u/", topics.ErrUnknownTopic},
		{"g/", topics.ErrUnknownTopic},
		{"g//typing", topics.ErrUnknownTopic},
		{"g/Team", topics.ErrUnknownTopic},
		{"g/team/", topics.ErrUnknownTopic},
		{"g/team/read", topics.ErrUnknownTopic},
		{"g/team/+/+", topics.ErrUnknownTopic},
		{"u/alice/read", topics.ErrUnknownTopic},
		{"u/alice/", topics.ErrUnknownTopic},
		{"u/alice/rpc", topics.ErrUnknownTopic},
		{"u/alice/rpc/", topics.ErrUnknownTopic},
		{"u/alice/nonsense", topics.ErrUnknownTopic},
		{"u/alice/rpc/1/2/3/4/5/6", topics.ErrTooManyLevels},
		{"u/alice" + strings.Repeat("/+", 1000), topics.ErrTooManyLevels},
		{"g" + strings.Repeat("/a", 1000) + "/#", topics.ErrTooManyLevels},
	} {
		f, err := topics.ParseFilter(tt.filter, "alice")
		if !errors.Is(err, tt.want) {
			t.Errorf("ParseFilter(%.40q) = %v, want %v", tt.filter, err, tt.want)
		}
		if f != (topics.Filter{}) {
			t.Errorf("ParseFilter(%.40q) refuses and yet selects %+v", tt.filter, f)
		}
	}
}

func TestCheckPublish(t *testing.T) {
	for topic, want := range map[string]error{
		"u/bob": nil, "u/alice": nil, "g/team": nil, "u/bob/typing": nil, "g/team/typing": nil,
		"u/bob/read": nil, "g/team/read": nil, "u/alice/presence": nil, "rpc/chat.list": nil,
		"u/bob/presence":   topics.ErrNotAllowed,
		"u/alice/receipts": topics.ErrNotAllowed,
		"u/alice/events":   topics.ErrNotAllowed,
		"u/alice/sent":     topics.ErrNotAllowed,
		"u/alice/rpc/1":    topics.ErrNotAllowed,
		"news":             topics.ErrUnknownTopic,
		"u/alice/x":        topics.ErrUnknownTopic,
	} {
		if err := topics.CheckPublish(topics.Parse(topic), "alice"); !errors.Is(err, want) {
			t.Errorf("CheckPublish(%q) = %v, want %v", topic, err, want)
		}
	}
	for topic, want := range map[string]bool{
		"u/alice/rpc/1": true, "u/alice/rpc/a/b": true,
		"u/bob/rpc/1": false, "u/alice": false, "u/alice/rpc/": false, "u/alice/rpc/#": false, "rpc/chat.list": false,
	} {
		if got := topics.ValidResponseTopic(topic, "alice"); got != want {
			t.Errorf("ValidResponseTopic(%q) = %v", topic, got)
		}
	}
}

// selects asks a Filter about a topic on which the server delivers to alice.
func selects(f topics.Filter, p topics.Topic[string]) bool {
	switch p.Kind {
	case topics.Group, topics.GroupTyping:
		return f.SelectsGroup(p.Kind, p.Name)
	case topics.UserRPC:
		return f.SelectsAnswer(p.RID)
	default:
		return f.Has(p.Kind)
	}
}

// FuzzParseFilter compares, for every topic that the server delivers to alice
// on, what a granted filter selects with what MQTT says the filter matches.
func FuzzParseFilter(f *testing.F) {
	for _, s := range []string{
		"u/alice", "u/alice/#", "u/alice/+", "u/alice/+/+", "u/alice/rpc/a/+", "g/#", "g/+/#", "g/team/typing/#",
		"u/bob/presence", "g/+/+/#", "$share/a/b", "#", "u/alice/rpc/+/b", "g/team/+",
	} {
		f.Add(s)
	}
	delivered := []string{
		"u/alice", "u/alice/typing", "u/alice/receipts", "u/alice/events", "u/alice/sent", "u/alice/rpc/7", "u/alice/rpc/a/b",
		"g/team", "g/team/typing", "g/other", "g/other/typing",
	}
	f.Fuzz(func(t *testing.T, filter string) {
		got, err := topics.ParseFilter(filter, "alice")
		if err != nil {
			if got != (topics.Filter{}) {
				t.Fatalf("refused and yet selects %+v", got)
			}
			return
		}
		if !naiveValidFilter(filter) {
			t.Fatalf("grants %q, which is no filter", filter)
		}
		for _, topic := range delivered {
			if got, want := selects(got, topics.Parse(topic)), naiveMatch(filter, topic); got != want {
				t.Errorf("%q selects %q: %v, want %v", filter, topic, got, want)
			}
		}
		if got.Has(topics.Presence) && filter != "u/"+got.User+"/presence" {
			t.Errorf("%q selects the presence of %q", filter, got.User)
		}
		for _, topic := range []string{"u/bob", "u/bob/typing", "u/bob/rpc/7", "u/bob/events"} {
			if naiveMatch(filter, topic) {
				t.Errorf("grants %q, which covers %q", filter, topic)
			}
		}
	})
}

func BenchmarkParseFilter(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := topics.ParseFilter("u/alice/#", "alice"); err != nil {
			b.Fatal(err)
		}
	}
}
