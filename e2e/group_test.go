package e2e_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"sort"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tidings/internal/mqttest"
	"tidings/internal/mqttest/server"
)

// club is a group with its members, alice being the owner.
type club struct {
	name, topic             string
	alice, bob, carol, dave *client
}

// newClub makes a group of alice, bob and carol; dave is not in it.
func newClub(t *testing.T, w *world, m mode, settings map[string]any) *club {
	t.Helper()
	w = w.in(t)
	ls := w.logins("alice/phone", "bob/phone", "carol/phone", "dave/phone")
	c := &club{
		name:  "club-" + ls[0].User,
		alice: w.online(ls[0], m), bob: w.online(ls[1], m), carol: w.online(ls[2], m), dave: w.online(ls[3], m),
	}
	c.topic = "g/" + c.name
	params := map[string]any{"group": c.name, "title": "Club", "members": []string{ls[1].User, ls[2].User}}
	maps.Copy(params, settings)
	c.alice.call("group.create", params, nil)
	return c
}

// everyone sees an entry of the log: its type and whom it names.
func (c *club) sees(typ string, names []string, who ...*client) uint64 {
	var seq uint64
	for _, m := range who {
		m.t.Helper()
		e := m.on(c.topic).envelope
		var body struct{ Members []string }
		if err := json.Unmarshal(e.Body, &body); err != nil {
			m.t.Fatalf("%s: %v", e.Body, err)
		}
		sort.Strings(body.Members)
		if e.Type != typ || strings.Join(body.Members, " ") != strings.Join(names, " ") {
			m.t.Errorf("%s sees %s %s, want %s of %v", m.login.User, e.Type, e.Body, typ, names)
		}
		seq = e.Seq
	}
	return seq
}

func with(c *club, more ...any) map[string]any {
	params := map[string]any{"group": c.name}
	for i := 0; i < len(more); i += 2 {
		params[more[i].(string)] = more[i+1]
	}
	return params
}

func names(cs ...*client) []string {
	var out []string
	for _, c := range cs {
		out = append(out, c.login.User)
	}
	sort.Strings(out)
	return out
}

func TestGroupMembershipIsInTheLog(t *testing.T) {
	t.Parallel()
	w := sharedWorld(t)
	inModes(t, versions, func(t *testing.T, m mode) {
		g := newClub(t, w, m, nil)
		g.sees("sys.create", names(g.alice, g.bob, g.carol), g.bob, g.carol)
		g.alice.send(g.topic, "welcome")
		g.bob.texts(g.topic, "welcome")
		g.carol.texts(g.topic, "welcome")

		g.alice.call("group.add", with(g, "members", names(g.dave)), nil)
		g.sees("sys.add", names(g.dave), g.bob, g.carol, g.dave)
		g.alice.call("group.role", with(g, "members", names(g.bob), "role", "admin"), nil)
		g.sees("sys.role", names(g.bob), g.bob, g.carol, g.dave)
		g.bob.call("group.remove", with(g, "members", names(g.carol)), nil)
		g.sees("sys.remove", names(g.carol), g.bob, g.carol, g.dave)
		g.dave.call("group.leave", with(g), nil)
		g.sees("sys.leave", names(g.dave), g.bob)
		g.bob.call("group.update", with(g, "title", "Club of two"), nil)
		if e := g.alice.await("the new title", func(m *message) bool { return m.Type == "sys.update" }); !strings.Contains(string(e.Body), "Club of two") {
			t.Errorf("sys.update %s", e.Body)
		}

		var info struct {
			Group, Title, Role string
			Count              int
			Members            []struct{ User, Role string }
		}
		g.bob.call("group.get", with(g), &info)
		roles := map[string]string{}
		for _, m := range info.Members {
			roles[m.User] = m.Role
		}
		want := map[string]string{g.alice.login.User: "owner", g.bob.login.User: "admin"}
		if diff := cmp.Diff(want, roles); diff != "" || info.Title != "Club of two" || info.Count != 2 || info.Role != "admin" {
			t.Errorf("group.get %+v (-want +got):\n%s", info, diff)
		}
		// Live deliveries, the inbox and history show the same, dense log.
		p := g.alice.history(map[string]any{"chat": g.topic})
		var types []string
		for i, e := range p.Messages {
			if types = append(types, e.Type); e.Seq != uint64(i+1) {
				t.Errorf("entry %d has seq %d", i+1, e.Seq)
			}
		}
		if got := strings.Join(types, " "); got != "sys.create text sys.add sys.role sys.remove sys.leave sys.update" {
			t.Errorf("log: %s", got)
		}
	})
}

func TestGroupRoles(t *testing.T) {
	t.Parallel()
	g := newClub(t, sharedWorld(t), v5, nil)
	g.dave.callRefused("group.get", with(g), "not_member")
	g.dave.callRefused("group.add", with(g, "members", names(g.dave)), "not_member")
	g.dave.callRefused("group.leave", with(g), "not_member")
	g.bob.callRefused("group.add", with(g, "members", names(g.dave)), "forbidden")
	g.bob.callRefused("group.remove", with(g, "members", names(g.carol)), "forbidden")
	g.bob.callRefused("group.role", with(g, "members", names(g.bob), "role", "owner"), "forbidden")
	g.bob.callRefused("group.update", with(g, "title", "mine"), "forbidden")
	g.alice.callRefused("group.leave", with(g), "last_owner")
	g.alice.callRefused("group.role", with(g, "members", names(g.alice), "role", "member"), "last_owner")
	g.alice.callRefused("group.role", with(g, "members", names(g.bob), "role", "king"), "malformed")
	g.alice.callRefused("group.role", with(g, "members", names(g.dave), "role", "admin"), "not_member")
	g.alice.callRefused("group.create", with(g), "exists")
	g.alice.callRefused("group.create", map[string]any{"group": "No Name"}, "malformed")
	g.alice.callRefused("group.create", map[string]any{"group": g.name + "-2", "members": []string{"nobody-of-that-name"}}, "not_found")
	g.alice.callRefused("group.create", map[string]any{"group": g.name + "-2", "owner": "me"}, "malformed")
	g.alice.callRefused("group.unknown", with(g), "unknown_operation")
	g.alice.call("group.role", with(g, "members", names(g.bob), "role", "owner"), nil)
	g.alice.call("group.leave", with(g), nil)
	g.bob.call("group.update", with(g, "title", "mine now"), nil)
}

func TestRemovedMemberStopsAtOnce(t *testing.T) {
	t.Parallel()
	w := sharedWorld(t)
	inModes(t, allModes, func(t *testing.T, m mode) {
		g := newClub(t, w, m, nil)
		g.alice.send(g.topic, "before")
		g.alice.call("group.remove", with(g, "members", names(g.bob)), nil)
		g.alice.send(g.topic, "after")
		g.alice.send(g.bob.me(), "privately")
		// The private text was sent last: what came until then is all that came.
		g.bob.texts(g.bob.me(), "privately")
		var got []string
		for _, e := range g.bob.waiting {
			if e.topic == g.topic {
				got = append(got, e.Type+" "+e.text())
			}
		}
		if len(got) != 3 || got[1] != "text before" || !strings.HasPrefix(got[2], "sys.remove") {
			t.Errorf("bob got %q", got)
		}
		g.bob.refused(mqttest.Publish{Topic: g.topic, Payload: []byte("still here?")}, 0x87, "not_allowed")
		p := g.bob.history(map[string]any{"chat": g.topic})
		if n := len(p.Messages); n != 3 || p.Messages[n-1].Type != "sys.remove" {
			t.Errorf("history shows %+v", p.Messages)
		}
		if p := g.bob.history(map[string]any{"chat": g.topic, "after": 3}); len(p.Messages) != 0 {
			t.Errorf("later history shows %+v", p.Messages)
		}
		// Nor does his inbox, nor does another device of his.
		g.bob.Disconnect()
		g.alice.send(g.topic, "later")
		g.alice.send(g.bob.me(), "privately again")
		again := w.in(t).connect(g.bob.login, m)
		if m := again.await("anything of a chat", func(m *message) bool { return m.topic == g.topic || m.topic == again.me() }); m.text() != "privately again" {
			t.Errorf("bob's inbox gave %s", m.Payload)
		}
		// A member again: what was in between stays hidden.
		g.alice.call("group.add", with(g, "members", names(g.bob)), nil)
		g.alice.send(g.topic, "welcome back")
		again.texts(g.topic, `{"members":["`+g.bob.login.User+`"]}`, "welcome back")
		p = again.history(map[string]any{"chat": g.topic})
		for _, e := range p.Messages {
			if e.text() == "after" || e.text() == "later" {
				t.Errorf("history shows seq %d %s", e.Seq, e.text())
			}
		}
	})
}

func TestNewMemberStartsAtTheHeadOrWithHistory(t *testing.T) {
	t.Parallel()
	for _, history := range []bool{false, true} {
		t.Run(fmt.Sprintf("history %v", history), func(t *testing.T) {
			g := newClub(t, sharedWorld(t), v5, map[string]any{"history": history})
			g.alice.sendMany(g.topic, "m", 3)
			g.alice.call("group.add", with(g, "members", names(g.dave)), nil)
			g.alice.send(g.topic, "hello dave")
			first := g.dave.on(g.topic)
			p := g.dave.history(map[string]any{"chat": g.topic})
			if history {
				if first.Type != "sys.create" || len(p.Messages) != 6 {
					t.Errorf("with history dave's first is %s, history has %d entries", first.Payload, len(p.Messages))
				}
				g.dave.texts(g.topic, "m 1", "m 2", "m 3")
			} else if first.Type != "sys.add" || len(p.Messages) != 2 {
				t.Errorf("dave's first is %s, history has %d entries", first.Payload, len(p.Messages))
			}
			g.dave.await("the greeting", func(m *message) bool { return m.text() == "hello dave" })
		})
	}
}

func TestGroupOf10000Members(t *testing.T) {
	t.Parallel()
	w := newWorld(t, server.Config{})
	const n = 10_000
	made := lines(w.cli("", "user", "add", "--count", fmt.Sprint(n), "--prefix", "member", "-o", "json"))
	if len(made) != n {
		t.Fatalf("%d users made", len(made))
	}
	var users []string
	for _, l := range made {
		var u struct{ User string }
		if err := json.Unmarshal([]byte(l), &u); err != nil {
			t.Fatal(err)
		}
		users = append(users, u.User)
	}
	owner := w.online(w.logins("alice/phone")[0], v5)
	owner.callRefused("group.create", map[string]any{"group": "all", "members": users[:1001]}, "quota_exceeded")
	owner.call("group.create", map[string]any{"group": "all", "members": users[:1000]}, nil)
	for i := 1000; i < n; i += 1000 {
		owner.call("group.add", map[string]any{"group": "all", "members": users[i : i+1000]}, nil)
	}
	var info struct {
		Count   int
		Members []struct{ User string }
		Next    string
	}
	owner.call("group.get", map[string]any{"group": "all", "limit": 1000}, &info)
	if info.Count != n+1 || len(info.Members) != 1000 || info.Next == "" {
		t.Errorf("group.get: %d members, a page of %d, next %q", info.Count, len(info.Members), info.Next)
	}
	for _, at := range []int{0, n / 2, n - 1} {
		ls, err := w.AddDevices(t.Context(), server.Device{User: users[at], Device: "phone"})
		if err != nil {
			t.Fatal(err)
		}
		c := w.online(ls[0], v5)
		text := fmt.Sprint("hello ", at)
		owner.send("g/all", text)
		c.await("the greeting", func(m *message) bool { return m.text() == text })
		c.send("g/all", "thanks "+text)
		owner.await("the thanks", func(m *message) bool { return m.text() == "thanks "+text })
	}
}

// lines splits output into its lines.
func lines(out string) []string { return strings.Split(strings.TrimSuffix(out, "\n"), "\n") }
