package e2e_test

import (
	"fmt"
	"strings"
	"testing"

	"tidings/internal/mqttest"
	"tidings/internal/mqttest/server"
)

func TestBadLogins(t *testing.T) {
	t.Parallel()
	w := sharedWorld(t)
	ls := w.logins("alice/laptop", "bob/phone", "carol/phone")
	w.cli("right-word\n", "user", "passwd", ls[0].User, "--password-stdin")
	w.cli("", "user", "disable", ls[1].User)
	w.cli("", "device", "revoke", ls[2].User, "phone")
	inModes(t, allModes, func(t *testing.T, m mode) {
		w := w.in(t)
		good := server.Login{User: ls[0].User, Device: "new " + m.name, Token: "right-word"}
		w.connect(good, m)
		for name, c := range map[string]struct {
			login server.Login
			v5    byte
			v3    byte
		}{
			"wrong password":                     {server.Login{User: ls[0].User, Device: "x", Token: "wrong-word"}, 0x86, 4},
			"unknown user":                       {server.Login{User: "nobody-of-that-name", Device: "x", Token: "right-word"}, 0x86, 4},
			"a name that is none":                {server.Login{User: "No Name", Device: "x", Token: "right-word"}, 0x86, 4},
			"disabled user":                      {ls[1], 0x86, 4},
			"revoked device":                     {ls[2], 0x86, 4},
			"token of another device":            {server.Login{User: ls[0].User, Device: "x", Token: ls[0].Token}, 0x86, 4},
			"token of another user":              {server.Login{User: ls[0].User, Device: "laptop", Token: ls[1].Token}, 0x86, 4},
			"no password":                        {server.Login{User: ls[0].User, Device: "laptop"}, 0x86, 4},
			"no user":                            {server.Login{Device: "laptop"}, 0x86, 4},
			"client identifier with a tab":       {server.Login{User: ls[0].User, Device: "a\tb", Token: "right-word"}, 0x85, 2},
			"client identifier that is too long": {server.Login{User: ls[0].User, Device: strings.Repeat("x", 129), Token: "right-word"}, 0x85, 2},
		} {
			want := c.v5
			if m.version == mqttest.V311 {
				want = c.v3
			}
			if code := w.refusedLogin(c.login, m, options(m)); code != want {
				t.Errorf("%s: CONNACK %#02x, want %#02x", name, code, want)
			}
		}
	})
}

func TestDisablingEndsLiveSessions(t *testing.T) {
	t.Parallel()
	w := sharedWorld(t)
	ls := w.logins("alice/laptop", "bob/phone")
	alice, bob := w.online(ls[0], v5), w.online(ls[1], v5)
	w.cli("", "user", "disable", ls[1].User)
	if code := bob.ended(); code != 0x87 {
		t.Errorf("ended with %#02x, want 0x87", code)
	}
	alice.refused(mqttest.Publish{Topic: bob.me(), Payload: []byte("there?")}, 0x87, "not_allowed")
	w.cli("", "user", "enable", ls[1].User)
	alice.send(bob.me(), "welcome back")
	w.connect(ls[1], v5).texts(bob.me(), "welcome back")
}

// Shows MQTT3-3.3.5-2.
func TestBadPublishes(t *testing.T) {
	t.Parallel()
	w := sharedWorld(t)
	inModes(t, allModes, func(t *testing.T, m mode) {
		g := newClub(t, w, m, nil)
		const limit = 256 << 10
		g.alice.send(g.bob.me(), `{"cid":"used","body":"once"}`)
		g.bob.call("block.add", map[string]any{"user": g.dave.login.User}, nil)
		deep := `{"body":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + "}"
		for _, c := range []struct {
			name    string
			from    *client
			topic   string
			payload string
			code    byte
			word    string
		}{
			{"unknown user", g.alice, "u/nobody-of-that-name", "x", 0x87, "not_allowed"},
			{"unknown group", g.alice, "g/nothing-of-that-name", "x", 0x87, "not_allowed"},
			{"a group one is not in", g.dave, g.topic, "x", 0x87, "not_allowed"},
			{"somebody who has blocked the sender", g.dave, g.bob.me(), "x", 0x87, "not_allowed"},
			{"a topic that is none", g.alice, "weather/today", "x", 0x90, "unknown_topic"},
			{"a name that is none", g.alice, "u/No Name", "x", 0x90, "unknown_topic"},
			{"a part of a user that is none", g.alice, g.bob.me() + "/secrets", "x", 0x90, "unknown_topic"},
			{"the server's topics", g.alice, "$SYS/broker", "x", 0x90, "unknown_topic"},
			{"another's receipts", g.alice, g.bob.me() + "/receipts", "{}", 0x87, "not_allowed"},
			{"one's own events", g.alice, g.alice.me() + "/events", "{}", 0x87, "not_allowed"},
			{"a body over the limit", g.alice, g.bob.me(), strings.Repeat("x", limit+1), 0x97, "too_large"},
			{"a draft's body over the limit", g.alice, g.bob.me(), `{"body":"` + strings.Repeat("x", limit) + `"}`, 0x97, "too_large"},
			{"nothing", g.alice, g.bob.me(), "", 0x99, "malformed"},
			{"broken UTF-8", g.alice, g.bob.me(), "caf\xe9", 0x99, "malformed"},
			{"broken UTF-8 in a draft", g.alice, g.bob.me(), "{\"body\":\"\xff\"}", 0x99, "malformed"},
			{"a draft without body", g.alice, g.bob.me(), `{"cid":"1"}`, 0x99, "malformed"},
			{"a draft that is cut short", g.alice, g.bob.me(), `{"body":"x"`, 0x99, "malformed"},
			{"a draft with something behind it", g.alice, g.bob.me(), `{"body":1} x`, 0x99, "malformed"},
			{"a draft with a key twice", g.alice, g.bob.me(), `{"body":1,"body":2}`, 0x99, "malformed"},
			{"a draft with a key that is unknown", g.alice, g.bob.me(), `{"body":1,"colour":2}`, 0x99, "malformed"},
			{"a draft that is nested too deeply", g.alice, g.bob.me(), deep, 0x99, "malformed"},
			{"a draft of a type of the server", g.alice, g.bob.me(), `{"body":1,"type":"sys.add"}`, 0x99, "malformed"},
			{"a draft with a bad ttl", g.alice, g.bob.me(), `{"body":1,"ttl":-1}`, 0x99, "malformed"},
			{"a draft with a bad cid", g.alice, g.bob.me(), `{"body":1,"cid":""}`, 0x99, "malformed"},
			{"a cid with another body", g.alice, g.bob.me(), `{"cid":"used","body":"twice"}`, 0x83, "cid_conflict"},
			{"read of nothing", g.alice, g.bob.me() + "/read", `{"seq":0}`, 0x99, "malformed"},
		} {
			c.from.t = t
			before := t.Failed()
			for qos := byte(1); qos <= 2; qos++ {
				c.from.refused(mqttest.Publish{Topic: c.topic, Payload: []byte(c.payload), QoS: qos}, c.code, c.word)
			}
			if t.Failed() && !before {
				t.Errorf("%s: see above", c.name)
			}
		}
		// What was refused is not stored, and the connection is well.
		g.alice.send(g.bob.me(), strings.Repeat("x", limit))
		if p := g.bob.history(map[string]any{"chat": g.alice.me(), "limit": 1}); p.Head != 2 {
			t.Errorf("head %d, want 2", p.Head)
		}
		if p := g.alice.history(map[string]any{"chat": g.topic}); p.Head != 1 {
			t.Errorf("head of the group %d, want 1", p.Head)
		}
	})
}

// Shows MQTT3-3.8.4-4, MQTT3-3.8.4-5, MQTT3-3.9.3-1, MQTT3-3.9.3-2, MQTT5-3.8.4-5, MQTT5-3.8.4-6.
// Shows MQTT5-3.8.4-7, MQTT5-3.9.3-1, MQTT5-3.9.3-2.
func TestBadFilters(t *testing.T) {
	t.Parallel()
	w := sharedWorld(t)
	inModes(t, allModes, func(t *testing.T, m mode) {
		g := newClub(t, w, m, nil)
		me, other := g.dave.me(), g.bob.me()
		cases := []struct {
			filter string
			code   byte
		}{
			{"#", 0x87},
			{"+/#", 0x87},
			{"u/+/#", 0x87},
			{"u/#", 0x87},
			{other, 0x87},
			{other + "/#", 0x87},
			{other + "/receipts", 0x87},
			{g.topic, 0x87},
			{"g/nothing-of-that-name", 0x87},
			{"$share/s/" + me, 0x9e},
			{"$share/s/" + other, 0x9e},
			{"$SYS/#", 0x8f},
			{"weather/#", 0x8f},
			{me + "/nothing", 0x8f},
			{me + strings.Repeat("/x", 1000), 0x8f},
			{strings.Repeat("/", 1000), 0x8f},
			{me + "/#/x", 0x8f},
			{me + "#", 0x8f},
			{"g/a+", 0x8f},
		}
		filters := []string{me + "/typing"}
		want := []byte{1}
		for _, c := range cases {
			filters = append(filters, c.filter)
			if m.version == mqttest.V311 {
				c.code = 0x80
			}
			want = append(want, c.code)
		}
		// In one SUBSCRIBE, the good one is granted and each bad one refused.
		for i, code := range g.dave.subscribeCodes(filters...) {
			if code != want[i] {
				t.Errorf("%.60s: %#02x, want %#02x", filters[i], code, want[i])
			}
		}
		g.alice.send(g.topic, "for members")
		g.alice.send(other, "for bob")
		g.alice.send(me, "for dave")
		g.dave.texts(me, "for dave")
		for _, m := range g.dave.waiting {
			if m.text() == "for members" || m.text() == "for bob" {
				t.Errorf("dave got %s", m.Payload)
			}
		}
	})
}

func TestTooManyFilters(t *testing.T) {
	t.Parallel()
	w := newWorld(t, server.Config{Args: withConfig(t, "limits:\n  subscriptions: 10\n")})
	c := w.connect(w.logins("alice/laptop")[0], v5)
	var filters []string
	for i := range 11 {
		filters = append(filters, fmt.Sprintf("u/user-%d/presence", i))
	}
	codes := c.subscribeCodes(filters...)
	if codes[9] != 1 || codes[10] != 0x97 {
		t.Errorf("codes %#v", codes)
	}
}

// Shows MQTT3-3.1.2-8, MQTT3-3.1.2-10, MQTT3-3.14.4-3, MQTT5-3.1.2-8, MQTT5-3.1.2-10, MQTT5-3.14.4-3.
func TestWills(t *testing.T) {
	t.Parallel()
	w := sharedWorld(t)
	inModes(t, versions, func(t *testing.T, m mode) {
		g := newClub(t, w, m, nil)
		w := w.in(t)
		will := func(topic, text string) *client {
			o := options(m)
			o.Will = &mqttest.Will{Topic: topic, Payload: []byte(text), QoS: 1}
			return w.connectWith(g.dave.login, m, o)
		}
		// A will is a message like any other: to a group one is not in, and to a user who does not exist, it is refused.
		will(g.topic, "intruder").Drop()
		will("u/nobody-of-that-name", "nobody").Drop()
		will(g.bob.me(), "cancelled").Disconnect()
		will(g.bob.me(), "gone").Drop()
		g.bob.texts(g.bob.me(), "gone")
		if p := g.bob.history(map[string]any{"chat": g.dave.me()}); len(p.Messages) != 1 {
			t.Errorf("history %+v", p)
		}
		if p := g.alice.history(map[string]any{"chat": g.topic}); p.Head != 1 {
			t.Errorf("the group's head is %d", p.Head)
		}
		for _, topic := range []string{"weather/today", g.bob.me() + "/receipts", "rpc/group.create", "$SYS/x"} {
			o := options(m)
			o.Will = &mqttest.Will{Topic: topic, Payload: []byte("x")}
			want := byte(0x90)
			if m.version == mqttest.V311 {
				want = 5
			}
			if code := w.refusedLogin(g.dave.login, m, o); code != want {
				t.Errorf("will to %s: CONNACK %#02x, want %#02x", topic, code, want)
			}
		}
	})
}
