package topics_test

import (
	"strings"
	"testing"

	"tidings/topics"
)

func TestParse(t *testing.T) {
	long := strings.Repeat("a", 64)
	for _, tt := range []struct {
		topic string
		kind  topics.Kind
		name  string
		rid   string
	}{
		{"u/bob", topics.User, "bob", ""},
		{"u/b", topics.User, "b", ""},
		{"u/0.a_b-c", topics.User, "0.a_b-c", ""},
		{"u/" + long, topics.User, long, ""},
		{"g/team", topics.Group, "team", ""},
		{"u/bob/typing", topics.UserTyping, "bob", ""},
		{"g/team/typing", topics.GroupTyping, "team", ""},
		{"u/bob/read", topics.UserRead, "bob", ""},
		{"g/team/read", topics.GroupRead, "team", ""},
		{"u/bob/presence", topics.Presence, "bob", ""},
		{"u/bob/receipts", topics.Receipts, "bob", ""},
		{"u/bob/events", topics.Events, "bob", ""},
		{"u/bob/sent", topics.Sent, "bob", ""},
		{"u/bob/rpc/7", topics.UserRPC, "bob", "7"},
		{"u/bob/rpc/app/7", topics.UserRPC, "bob", "app/7"},
		{"u/bob/rpc/1/2/3/4/5", topics.UserRPC, "bob", "1/2/3/4/5"},
		{"rpc/group.create", topics.RPC, "group.create", ""},
		{"rpc/history", topics.RPC, "history", ""},
		{"rpc/a.b_c.d", topics.RPC, "a.b_c.d", ""},
	} {
		got := topics.Parse(tt.topic)
		if got.Kind != tt.kind || got.Name != tt.name || got.RID != tt.rid {
			t.Errorf("Parse(%q) = %+v, want kind %d, name %q, rid %q", tt.topic, got, tt.kind, tt.name, tt.rid)
		}
		b := topics.Parse([]byte(tt.topic))
		if b.Kind != tt.kind || string(b.Name) != tt.name || string(b.RID) != tt.rid {
			t.Errorf("Parse([]byte(%q)) = %+v", tt.topic, b)
		}
		if got.Kind == topics.UserRPC {
			if s := string(topics.AppendAnswer(nil, got.Name, got.RID)); s != tt.topic {
				t.Errorf("AppendAnswer = %q, want %q", s, tt.topic)
			}
		} else if s := string(topics.Append(nil, got.Kind, got.Name)); s != tt.topic {
			t.Errorf("Append = %q, want %q", s, tt.topic)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, topic := range []string{
		"", "u", "u/", "g/", "/", "//", "u//", "u/bob/", "u//typing", "u/Bob", "u/.bob", "u/-bob", "u/bo b",
		"u/bob/Typing", "u/bob/typing/", "u/bob/typing/x", "u/bob/unknown", "g/team/presence", "g/team/sent",
		"g/team/rpc/1", "u/+", "u/#", "u/bob/#", "u/bob/rpc", "u/bob/rpc/", "u/bob/rpc/+", "u/bob/rpc/a#",
		"u/bob/rpc/\x00", "u/bob/rpc/\xff", "u/bob/rpc/1/2/3/4/5/6", "x/bob", "$SYS/x", "ub/x",
		"rpc", "rpc/", "rpc/group.", "rpc/.create", "rpc/group..create", "rpc/Group.create",
		"rpc/group.create/x", "rpc/gr_oup.create", "rpc/group.+", "rpc/" + strings.Repeat("a", 64) + ".b",
		"u/" + strings.Repeat("a", 65), "u/bob\x00", "u/b\xc3\xb6b",
	} {
		if got := topics.Parse(topic); got.Kind != topics.None || got.Name != "" || got.RID != "" {
			t.Errorf("Parse(%q) = %+v, want nothing", topic, got)
		}
	}
}

func TestAppendNothing(t *testing.T) {
	for _, k := range []topics.Kind{topics.None, topics.UserRPC, 200} {
		if got := topics.Append([]byte("x"), k, "bob"); string(got) != "x" {
			t.Errorf("Append of kind %d gives %q, want nothing added", k, got)
		}
	}
}

func TestNames(t *testing.T) {
	for _, tt := range []struct {
		s                 string
		name, client, rid bool
	}{
		{"", false, false, false},
		{"a", true, true, true},
		{"9", true, true, true},
		{"A", false, true, true},
		{"a b", false, true, false},
		{" ", false, true, false},
		{"_a", false, true, true},
		{"a/b", false, true, false},
		{"a+", false, true, false},
		{"#", false, true, false},
		{"a\x7f", false, false, false},
		{"a\x1f", false, false, false},
		{"ä", false, false, false},
		{strings.Repeat("a", 64), true, true, true},
		{strings.Repeat("a", 65), false, true, false},
		{strings.Repeat("~", 128), false, true, false},
		{strings.Repeat("~", 129), false, false, false},
	} {
		if got := topics.ValidName(tt.s); got != tt.name {
			t.Errorf("ValidName(%q) = %v", tt.s, got)
		}
		if got := topics.ValidClient([]byte(tt.s)); got != tt.client {
			t.Errorf("ValidClient(%q) = %v", tt.s, got)
		}
		if got := topics.ValidRID(tt.s); got != tt.rid {
			t.Errorf("ValidRID(%q) = %v", tt.s, got)
		}
	}
}

// FuzzParse checks that what parses is rebuilt exactly by the builders, and that
// both forms agree.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"u/bob", "g/team/typing", "u/bob/rpc/1/2", "rpc/group.create", "u/bob/rpc/\xff", "$SYS/#"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, b := topics.Parse(s), topics.Parse([]byte(s))
		if p.Kind != b.Kind || p.Name != string(b.Name) || p.RID != string(b.RID) {
			t.Fatalf("string form %+v, bytes form %+v", p, b)
		}
		var built []byte
		switch p.Kind {
		case topics.None:
			return
		case topics.UserRPC:
			built = topics.AppendAnswer(nil, p.Name, p.RID)
		default:
			built = topics.Append(nil, p.Kind, p.Name)
		}
		if string(built) != s {
			t.Fatalf("Parse(%q) = %+v, which builds %q", s, p, built)
		}
		if !topics.ValidTopicName(s) {
			t.Fatalf("Parse accepts %q, which is no topic name", s)
		}
	})
}

func TestNoAllocations(t *testing.T) {
	names := [][]byte{[]byte("u/bob"), []byte("g/team/typing"), []byte("u/alice/rpc/a/b\xc3\xb6"), []byte("rpc/group.create")}
	buf := make([]byte, 0, 64)
	if n := testing.AllocsPerRun(100, func() {
		for _, name := range names {
			p := topics.Parse(name)
			buf = topics.Append(buf[:0], p.Kind, p.Name)
			if topics.CheckPublish(p, "alice") != nil && p.Kind != topics.UserRPC {
				t.Error("refused")
			}
			if !topics.ValidTopicName(name) || !topics.Match("#", name) {
				t.Error("no match")
			}
		}
		if f, err := topics.ParseFilter("u/alice/#", "alice"); err != nil || !f.Has(topics.User) {
			t.Error("refused")
		}
		if _, err := topics.ParseFilter("u/bob", "alice"); err == nil {
			t.Error("granted")
		}
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func BenchmarkParse(b *testing.B) {
	for _, s := range []string{"u/alice", "g/team", "u/alice/typing", "rpc/chat.list"} {
		name := []byte(s)
		b.Run(s, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if topics.Parse(name).Kind == topics.None {
					b.Fatal("none")
				}
			}
		})
	}
}
