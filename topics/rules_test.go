package topics_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tidings/topics"
)

// rules parses lines that must be right.
func rules(t testing.TB, lines ...string) topics.Rules {
	t.Helper()
	r, err := topics.ParseRules(lines)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// roles is somebody's roles in groups.
func roles(pairs map[string]string) func(string) string {
	return func(group string) string { return pairs[group] }
}

func TestParseRulesRefuses(t *testing.T) {
	for line, want := range map[string]string{
		"":                               `begins with allow or deny, not with ""`,
		"Allow alice all a":              `begins with allow or deny, not with "Allow"`,
		"allow":                          `"" is none of a user's name, *, @group and @group:role`,
		"allow Alice all a":              `"Alice" is none of a user's name`,
		"allow @ all a":                  `"@" is none of a user's name`,
		"allow @Team all a":              `"@Team" is none of a user's name`,
		"allow @:admin all a":            `"@:admin" is none of a user's name`,
		"allow team:admin all a":         `"team:admin" is none of a user's name`,
		"allow ** all a":                 `"**" is none of a user's name`,
		"allow @team:chief all a":        `"chief" in @team:chief is none of the roles member, admin and owner`,
		"allow @team: all a":             `"" in @team: is none of the roles member, admin and owner`,
		"allow alice":                    `"" is none of publish, subscribe and all`,
		"allow alice write a":            `"write" is none of publish, subscribe and all`,
		"allow alice all":                `has no topic filter; in YAML one that begins with #`,
		"allow alice all a#":             `"a#" is not a valid topic filter`,
		"allow alice all a/#/b":          `"a/#/b" is not a valid topic filter`,
		"allow alice all a\x00":          `is not a valid topic filter`,
		"allow alice all a+%u":           `is not a valid topic filter`,
		"allow alice all open/%d/x":      `%d in "open/%d/x" is none of %u, the user, and %c, the client identifier`,
		"allow alice all open/%c/%U":     `%U in "open/%c/%U" is none of`,
		"allow alice all u/bob":          `"u/bob" is about topics of the platform`,
		"allow alice all g/#":            `"g/#" is about topics of the platform`,
		"allow alice all rpc/+":          `"rpc/+" is about topics of the platform`,
		"deny * subscribe $share/x/open": `"$share/x/open": a rule about shared subscriptions`,
	} {
		_, err := topics.ParseRules([]string{"allow * all open/#", line})
		one, ok := errors.AsType[*topics.LineError](err)
		if !ok || one.Line != 2 || !strings.Contains(one.Text, want) {
			t.Errorf("%q: %v, want %s", line, err, want)
		}
	}
	r, err := topics.ParseRules([]string{"x", "deny * all #", "y"})
	if err == nil || strings.Count(err.Error(), "\n") != 1 || !strings.Contains(err.Error(), "line 1: ") || !strings.Contains(err.Error(), "line 3: ") {
		t.Errorf("not every problem is told: %v", err)
	}
	if a := r.For("alice", "phone", nil); !a.MayRead([]byte("a")) {
		t.Error("refused rules say something")
	}
}

func TestRulesGroups(t *testing.T) {
	r := rules(t, "allow @team all a", "deny alice all b", "allow @ops:owner all c", "deny @team:admin publish d", "deny * all e")
	if diff := cmp.Diff([]string{"ops", "team"}, r.Groups()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := rules(t).Groups(); len(got) != 0 {
		t.Errorf("no rules mention %q", got)
	}
}

func TestAccess(t *testing.T) {
	r := rules(t,
		"allow alice publish open/home/+/set",
		"deny * subscribe open/secret/#",
		"allow @team all open/team/#",
		"allow @team:admin publish open/cfg/%u/#",
		"allow * all open/dev/%c",
		" deny\t*   publish  open/a b/+ ",
		"allow @ops:owner all open/ops",
		"deny bob all open/100%/#",
		"deny * publish open/cfg/#",
		"deny * all open/home/#",
		"deny * all open/dev/#",
		"deny * all open/team/#",
		"deny * all open/ops",
	)
	for _, tt := range []struct {
		user, client  string
		roles         map[string]string
		topic         string
		publish, read bool
	}{
		{"alice", "phone", nil, "open/home/lamp/set", true, false},
		{"bob", "phone", nil, "open/home/lamp/set", false, false},
		{"alice", "phone", nil, "open/home/lamp/state", false, false},
		{"alice", "phone", nil, "open/secret", true, false},
		{"alice", "phone", nil, "open/other", true, true},
		{"alice", "phone", nil, "open/team/x", false, false},
		{"alice", "phone", map[string]string{"team": "member"}, "open/team/x", true, true},
		{"alice", "phone", map[string]string{"team": "none"}, "open/team/x", false, false},
		{"alice", "phone", map[string]string{"ops": "owner"}, "open/team/x", false, false},
		{"alice", "phone", map[string]string{"team": "member"}, "open/cfg/alice/x", false, true},
		{"alice", "phone", map[string]string{"team": "admin"}, "open/cfg/alice/x", true, true},
		{"alice", "phone", map[string]string{"team": "owner"}, "open/cfg/alice", true, true},
		{"alice", "phone", map[string]string{"team": "owner"}, "open/cfg/bob", false, true},
		{"alice", "phone", map[string]string{"ops": "admin"}, "open/ops", false, false},
		{"alice", "phone", map[string]string{"ops": "owner"}, "open/ops", true, true},
		{"alice", "phone", nil, "open/dev/phone", true, true},
		{"alice", "phone", nil, "open/dev/laptop", false, false},
		{"alice", "+", nil, "open/dev/laptop", false, false},
		{"alice", "#", nil, "open/dev/laptop", false, false},
		{"alice", "a/b", nil, "open/dev/a/b", false, false},
		{"alice", "a#", nil, "open/dev/a#", false, false},
		{"alice", "", nil, "open/dev/", false, false},
		{"alice", "%u", nil, "open/dev/alice", false, false},
		{"alice", "phone", nil, "open/a b/c", false, true},
		{"bob", "phone", nil, "open/100%/x", false, false},
		{"alice", "phone", nil, "open/100%/x", true, true},
	} {
		a := r.For(tt.user, tt.client, roles(tt.roles))
		if got := a.MayPublish([]byte(tt.topic)); got != tt.publish {
			t.Errorf("%s at %s as %v: MayPublish(%q) = %v", tt.user, tt.client, tt.roles, tt.topic, got)
		}
		if got := a.MayRead([]byte(tt.topic)); got != tt.read {
			t.Errorf("%s at %s as %v: MayRead(%q) = %v", tt.user, tt.client, tt.roles, tt.topic, got)
		}
	}
}

func TestPatternsStayInTheirLevel(t *testing.T) {
	r := rules(t, "allow * all %c/x", "allow * all dev-%c/%u", "deny * all #")
	for _, tt := range []struct {
		user, client, topic string
		want                bool
	}{
		{"alice", "phone", "phone/x", true},
		{"alice", "phone", "dev-phone/alice", true},
		{"alice", "phone", "dev-phone/bob", false},
		{"", "phone", "dev-phone/", false},
		{"+", "phone", "dev-phone/bob", false},
		{"a/b", "phone", "dev-phone/a/b", false},
		{"alice", "$x", "a/x", false},
		{"alice", "\x00", "\x00/x", false},
		{"alice", strings.Repeat("x", 65535), strings.Repeat("x", 65535) + "/x", false},
	} {
		a := r.For(tt.user, tt.client, nil)
		if got := a.MayPublish([]byte(tt.topic)); got != tt.want {
			t.Errorf("%q at %.9q: MayPublish(%.20q) = %v", tt.user, tt.client, tt.topic, got)
		}
	}
	// The rule is not about topics of the server, whatever somebody calls himself.
	a := rules(t, "deny * all %c/x").For("alice", "$x", nil)
	if !a.MayPublish([]byte("$x/x")) {
		t.Error("a client identifier makes a rule about $ topics")
	}
}

func TestMaySubscribe(t *testing.T) {
	for _, tt := range []struct {
		lines  []string
		filter string
		want   bool
	}{
		{nil, "#", true},
		{[]string{"deny * subscribe open/secret/#"}, "open/secret/#", false},
		{[]string{"deny * subscribe open/secret/#"}, "open/secret", false},
		{[]string{"deny * subscribe open/secret/#"}, "open/secret/+/x", false},
		{[]string{"deny * subscribe open/secret/#"}, "open/+/x", true},
		{[]string{"deny * subscribe open/secret/#"}, "open/#", true},
		{[]string{"deny * subscribe open/secret/#"}, "#", true},
		{[]string{"deny * publish open/secret/#"}, "open/secret/#", true},
		{[]string{"deny * all #"}, "#", false},
		{[]string{"deny * all #"}, "+/x", false},
		{[]string{"deny * all #"}, "$x/y", true},
		{[]string{"deny * all +/#"}, "#", false},
		{[]string{"allow alice all a/b", "deny * all a/#"}, "a/#", true},
		{[]string{"allow alice all a/b", "deny * all a/#"}, "a/b", true},
		{[]string{"allow alice all a/b", "deny * all a/#"}, "a/c", false},
		{[]string{"allow bob all a/b", "deny * all a/#"}, "a/#", false},
		{[]string{"allow alice publish a/b", "deny * all a/#"}, "a/#", false},
		{[]string{"deny * all a/#", "allow alice all a/b"}, "a/b", false},
		{[]string{"deny * all a/x", "allow alice all a/b", "deny * all a/#"}, "a/+", true},
		{[]string{"deny * all a/%c", "allow * all a/+", "deny * all #"}, "a/phone", false},
	} {
		a := rules(t, tt.lines...).For("alice", "phone", nil)
		if got := a.MaySubscribe(tt.filter); got != tt.want {
			t.Errorf("%q: MaySubscribe(%q) = %v", tt.lines, tt.filter, got)
		}
	}
}

func TestAccessWithoutRules(t *testing.T) {
	var zero topics.Access
	for _, a := range []*topics.Access{nil, &zero} {
		if !a.MayPublish([]byte("a")) || !a.MayRead([]byte("a")) || !a.MaySubscribe("#") {
			t.Error("something is denied")
		}
	}
	// Without roles nobody is in a group.
	if a := rules(t, "deny @team all #").For("alice", "phone", nil); !a.MayRead([]byte("a")) {
		t.Error("a rule of a group concerns somebody without roles")
	}
	// What only allows is as good as nothing.
	if a := rules(t, "allow alice all open/#", "deny bob all #", "allow * subscribe #").For("alice", "phone", nil); !cmp.Equal(a, zero, cmp.AllowUnexported(topics.Access{})) {
		t.Errorf("%+v is left of rules that allow", a)
	}
}

func TestAccessAllocatesNothing(t *testing.T) {
	a := rules(t, "allow alice publish open/home/+/set", "deny * subscribe open/secret/#", "deny * publish open/#").For("alice", "phone", nil)
	set, other := []byte("open/home/lamp/set"), []byte("open/home/lamp")
	if n := testing.AllocsPerRun(100, func() {
		if !a.MayPublish(set) || a.MayPublish(other) || !a.MayRead(set) || !a.MaySubscribe("open/#") {
			t.Error("wrong")
		}
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

// FuzzParseRules checks that the answers about topics and those about filters fit
// together, and that nobody can reach another's topics by what he calls himself.
func FuzzParseRules(f *testing.F) {
	f.Add("allow alice all open/home/+/set\ndeny * subscribe open/#", "phone", "open/home/#", "open/home/lamp/set")
	f.Add("allow @team:admin publish open/%u/%c/#\ndeny * all #", "a/+", "+/+", "open/alice/x")
	f.Add("deny * all a%\nallow * all %c", "$x", "#", "$x")
	f.Fuzz(func(t *testing.T, text, client, filter, topic string) {
		r, err := topics.ParseRules(strings.Split(text, "\n"))
		if err != nil {
			for _, err := range err.(interface{ Unwrap() []error }).Unwrap() {
				if one, ok := errors.AsType[*topics.LineError](err); !ok || one.Line < 1 || one.Text == "" {
					t.Fatalf("%T: %v", err, err)
				}
			}
			return
		}
		groups := map[string]string{}
		for _, g := range r.Groups() {
			if !topics.ValidName(g) {
				t.Fatalf("group %q", g)
			}
			groups[g] = "admin"
		}
		a := r.For("alice", client, roles(groups))
		a.MayPublish([]byte(topic))
		if !topics.ValidFilter(filter) || !topics.ValidTopicName(topic) {
			return
		}
		if topics.Match(filter, topic) && a.MayRead([]byte(topic)) && !a.MaySubscribe(filter) {
			t.Fatalf("%q may be read, but %q not subscribed", topic, filter)
		}
		if a.MayRead([]byte(topic)) != a.MaySubscribe(topic) {
			t.Fatalf("%q: MayRead %v, MaySubscribe %v", topic, a.MayRead([]byte(topic)), a.MaySubscribe(topic))
		}
	})
}
