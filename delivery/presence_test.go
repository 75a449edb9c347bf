package delivery_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"tidings/chat"
	"tidings/delivery"
)

// TestPresenceOfOvertakenEnd tells the end of a user's last session when he has
// begun another one already.
func TestPresenceOfOvertakenEnd(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	w.online("alice", "phone")
	w.e.LeftLate(w.ids["alice"])
	p, err := w.e.GetUser(t.Context(), w.ids["bob"], "alice")
	if err != nil || p.Presence != chat.PresenceOnline {
		t.Errorf("alice is %q, %v; want online", p.Presence, err)
	}
}

// states returns the presence of a user as a device has heard of it, with what
// came as retained marked.
func (d *device) states(user string) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []string
	for _, g := range d.got {
		if g.topic != "u/"+user+"/presence" {
			continue
		}
		var p struct {
			State string `json:"state"`
			Seen  int64  `json:"last_seen"`
		}
		if err := json.Unmarshal([]byte(g.payload), &p); err != nil {
			d.w.t.Fatal(err)
		}
		s := p.State
		if g.retain {
			s += " retained"
		}
		if p.Seen != 0 {
			s += " seen"
		}
		out = append(out, s)
	}
	return out
}

// lastSeen returns the time that a presence tells.
func lastSeen(t *testing.T, g got) (ms int64) {
	t.Helper()
	var p struct {
		Seen int64 `json:"last_seen"`
	}
	if err := json.Unmarshal([]byte(g.payload), &p); err != nil {
		t.Fatal(err)
	}
	return p.Seen
}

func (d *device) says(state string) {
	d.publish(delivery.Publish{
		Topic:   []byte("u/" + d.s.Identity().Actor.UserName + "/presence"),
		Payload: []byte(`{"state":"` + state + `"}`), QoS: 1, PacketID: 1,
	})
}

func TestPresence(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, "alice", "bob")
		bob := w.connect("bob", "phone")
		bob.subscribe(0, "u/alice/presence")
		want := []string{"offline retained"}
		check := func(what string, more ...string) {
			t.Helper()
			if want = append(want, more...); !slices.Equal(bob.states("alice"), want) {
				t.Fatalf("%s: %q, want %q", what, bob.states("alice"), want)
			}
		}
		check("never seen")
		alice := w.connect("alice", "phone")
		rest()
		check("came", "online")
		time.Sleep(20 * time.Second)
		alice.close(true)
		time.Sleep(4 * time.Second)
		check("left a moment ago")
		alice = w.connect("alice", "phone")
		time.Sleep(20 * time.Second)
		check("came back at once")
		alice.close(true)
		time.Sleep(6 * time.Second)
		check("left", "offline seen")
		alice = w.connect("alice", "phone")
		time.Sleep(3 * time.Second)
		check("came back within the interval")
		time.Sleep(8 * time.Second)
		check("came back", "online")
		time.Sleep(20 * time.Second)
		for _, s := range []string{"away", "busy", "online", "busy"} {
			alice.says(s)
			time.Sleep(time.Second)
		}
		time.Sleep(20 * time.Second)
		check("changed often", "away", "busy")
		alice.says("invisible")
		time.Sleep(20 * time.Second)
		check("invisible is as offline", "offline seen")
		bob.subscribe(0, "u/alice/presence")
		check("subscribed again", "offline retained seen")
		if n := len(bob.got); lastSeen(t, bob.got[n-1]) != lastSeen(t, bob.got[n-2]) {
			t.Errorf("last seen %s, and before %s", bob.got[n-1].payload, bob.got[n-2].payload)
		}
		alice.close(true)
		time.Sleep(20 * time.Second)
		check("left unseen")
	})
}

func TestPresenceIsShownAsItsUserAllows(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, "alice", "friend", "stranger", "blocked")
		shared := chat.AudienceShared
		if _, err := w.e.UpdateUser(t.Context(), w.ids["alice"], delivery.UserChange{Presence: &shared}); err != nil {
			t.Fatal(err)
		}
		w.group(w.connect("friend", "x"), "team", "alice", "blocked")
		if err := w.e.SetBlock(t.Context(), w.actor("alice"), "blocked", true); err != nil {
			t.Fatal(err)
		}
		watch := func(user string) *device {
			d := w.connect(user, "phone")
			d.subscribe(0, "u/alice/presence")
			return d
		}
		friend, stranger, blocked := watch("friend"), watch("stranger"), watch("blocked")
		w.connect("alice", "phone")
		rest()
		if got := friend.states("alice"); !slices.Equal(got, []string{"offline retained", "online"}) {
			t.Errorf("the friend got %q", got)
		}
		if got := append(stranger.states("alice"), blocked.states("alice")...); len(got) != 0 {
			t.Errorf("others got %q", got)
		}
		for u, want := range map[string]chat.PresenceState{"friend": chat.PresenceOnline, "stranger": "", "blocked": ""} {
			if p, err := w.e.GetUser(t.Context(), w.ids[u], "alice"); err != nil || p.Presence != want || p.LastSeen != 0 {
				t.Errorf("the profile for %s: %+v, %v", u, p, err)
			}
		}
	})
}

func TestRetainHandling(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	bob := w.connect("bob", "phone")
	subscribe := func(handling byte) int {
		if _, err := bob.s.Subscribe(t.Context(), []delivery.Subscription{{Filter: "u/alice/presence", RetainHandling: handling}}); err != nil {
			t.Fatal(err)
		}
		bob.s.Feed()
		return len(bob.states("alice"))
	}
	for i, tt := range []struct {
		handling byte
		want     int
	}{{2, 0}, {1, 0}, {0, 1}, {1, 1}} {
		if got := subscribe(tt.handling); got != tt.want {
			t.Errorf("%d. after handling %d: %d states", i, tt.handling, got)
		}
	}
}

func TestTypingIsRare(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, "alice", "bob", "carol")
		alice, bob, carol := w.online("alice", "phone"), w.online("bob", "phone"), w.online("carol", "phone")
		w.group(alice, "team", "bob")
		typing := func(topic, payload string) {
			alice.ask(delivery.Publish{Topic: []byte(topic), Payload: []byte(payload)})
			rest()
		}
		for range 4 {
			typing("u/bob/typing", "")
			typing("g/team/typing", `{"typing":true}`)
		}
		typing("u/bob/typing", `{"typing":false}`)
		typing("u/bob/typing", `{"typing":false}`)
		typing("u/bob/typing", "")
		var direct, group []string
		for _, g := range bob.got {
			switch g.topic {
			case "u/bob/typing":
				direct = append(direct, g.payload)
			case "g/team/typing":
				group = append(group, g.payload)
			}
		}
		on, off := `{"user":"alice","typing":true}`, `{"user":"alice","typing":false}`
		if !slices.Equal(direct, []string{on, on, off, on}) {
			t.Errorf("direct: %q", direct)
		}
		if !slices.Equal(group, []string{on, on}) {
			t.Errorf("group: %q", group)
		}
		for _, d := range []*device{alice, carol} {
			for _, g := range d.got {
				if strings.HasSuffix(g.topic, "/typing") {
					t.Errorf("%s got %+v", d.name, g)
				}
			}
		}
	})
}
