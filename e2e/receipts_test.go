package e2e_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tidings/internal/mqttest"
)

// receipt waits for a receipt that says as much about a chat; earlier ones may have been told on the way.
func (c *client) receipt(want map[string]any) {
	c.t.Helper()
	var last map[string]any
	c.await(fmt.Sprintf("the receipt %v", want), func(m *message) bool {
		if m.topic != c.me()+"/receipts" || m.QoS != 0 {
			return false
		}
		last = m.fields()
		return cmp.Equal(last, want)
	})
}

// readUpTo says that a chat was read.
func (c *client) readUpTo(topic string, seq int) {
	c.t.Helper()
	c.send(topic+"/read", fmt.Sprintf(`{"seq":%d}`, seq))
}

func TestDirectReceipts(t *testing.T) {
	t.Parallel()
	w := sharedWorld(t)
	inModes(t, versions, func(t *testing.T, m mode) {
		w := w.in(t)
		ls := w.logins("alice/laptop", "bob/phone", "bob/tablet")
		alice, tablet := w.online(ls[0], m), w.online(ls[2], m)
		o := options(m)
		o.ManualAck = true
		phone := w.connectWith(ls[1], m, o)
		phone.inbox()
		tablet.Disconnect()
		alice.sendMany(phone.me(), "m", 3)
		var ids []uint16
		for range 3 {
			ids = append(ids, phone.on(phone.me()).Message.ID)
		}
		mark := func(delivered, read float64) map[string]any {
			return map[string]any{"chat": phone.me(), "user": ls[1].User, "delivered": delivered, "read": read}
		}
		// Delivered is what a device acknowledges, and no more than that.
		for i, id := range ids[:2] {
			if err := phone.Ack(id, 0); err != nil {
				t.Fatal(err)
			}
			alice.receipt(mark(float64(i+1), 0))
		}
		tablet = w.connect(ls[2], m)
		tablet.texts(tablet.me(), "m 1", "m 2", "m 3")
		alice.receipt(mark(3, 0)) // by the other device
		tablet.readUpTo(alice.me(), 2)
		alice.receipt(mark(3, 2))
		phone.receipt(map[string]any{"chat": alice.me(), "user": ls[1].User, "delivered": 3.0, "read": 2.0})
		// They only grow.
		tablet.readUpTo(alice.me(), 1)
		tablet.readUpTo(alice.me(), 3)
		alice.receipt(mark(3, 3))
		for _, m := range alice.waiting {
			if m.topic == alice.me()+"/receipts" {
				t.Errorf("one more receipt: %s", m.Payload)
			}
		}
	})
}

func TestReadReceiptsCanBeOff(t *testing.T) {
	t.Parallel()
	w := sharedWorld(t)
	ls := w.logins("alice/laptop", "bob/phone")
	alice, bob := w.online(ls[0], v5), w.online(ls[1], v5)
	bob.call("user.update", map[string]any{"read_receipts": false}, nil)
	alice.send(bob.me(), "1")
	bob.texts(bob.me(), "1")
	bob.readUpTo(alice.me(), 1)
	alice.receipt(map[string]any{"chat": bob.me(), "user": ls[1].User, "delivered": 1.0, "read": 0.0})
	alice.send(bob.me(), "2")
	bob.texts(bob.me(), "2")
	alice.receipt(map[string]any{"chat": bob.me(), "user": ls[1].User, "delivered": 2.0, "read": 0.0})
}

func TestGroupReceipts(t *testing.T) {
	t.Parallel()
	g := newClub(t, sharedWorld(t), v5, nil)
	s := g.alice.send(g.topic, "hi")
	for _, m := range []*client{g.bob, g.carol} {
		m.await("the text", func(m *message) bool { return m.text() == "hi" })
	}
	count := func(delivered, read float64) map[string]any {
		return map[string]any{"chat": g.topic, "seq": float64(s.seq), "delivered_by": delivered, "read_by": read}
	}
	g.alice.receipt(count(2, 0))
	g.bob.readUpTo(g.topic, int(s.seq))
	g.alice.receipt(count(2, 1))
	type mark struct {
		User            string
		Delivered, Read uint64
	}
	var marks struct{ Members []mark }
	g.alice.call("chat.receipts", map[string]any{"chat": g.topic}, &marks)
	got := map[string]mark{}
	for _, m := range marks.Members {
		got[m.User] = m
	}
	bob, carol := g.bob.login.User, g.carol.login.User
	if got[bob] != (mark{bob, s.seq, s.seq}) || got[carol] != (mark{carol, s.seq, 0}) {
		t.Errorf("watermarks %+v", marks.Members)
	}
	g.dave.callRefused("chat.receipts", map[string]any{"chat": g.topic}, "not_allowed")
}

func TestTyping(t *testing.T) {
	t.Parallel()
	w := sharedWorld(t)
	inModes(t, versions, func(t *testing.T, m mode) {
		g := newClub(t, w, m, nil)
		typing := func(topic, payload string) {
			t.Helper()
			if err := g.alice.Publish(&mqttest.Publish{Topic: topic, Payload: []byte(payload)}); err != nil {
				t.Fatal(err)
			}
		}
		for _, at := range []struct{ publish, receive string }{
			{g.bob.me() + "/typing", g.bob.me() + "/typing"},
			{g.topic + "/typing", g.topic + "/typing"},
		} {
			for _, c := range []struct {
				payload string
				on      bool
			}{{"", true}, {`{"typing":false}`, false}, {`{"typing":true}`, true}} {
				typing(at.publish, c.payload)
				m := g.bob.on(at.receive)
				if diff := cmp.Diff(map[string]any{"user": g.alice.login.User, "typing": c.on}, m.fields()); diff != "" || m.QoS != 0 || m.Retain {
					t.Errorf("typing (-want +got):\n%s", diff)
				}
			}
		}
		// Rare, not stored, not for others: of ten more within 3 s none is told.
		for range 10 {
			typing(g.bob.me()+"/typing", "")
		}
		g.alice.send(g.bob.me(), "there")
		g.bob.texts(g.bob.me(), "there")
		for _, m := range g.bob.waiting {
			if m.topic == g.bob.me()+"/typing" {
				t.Errorf("one more notice: %s", m.Payload)
			}
		}
		if h := g.bob.history(map[string]any{"chat": g.alice.me()}); h.Head != 1 {
			t.Errorf("head %d, typing was stored", h.Head)
		}
	})
}

// presence waits for a state on a user's presence topic and returns last seen.
func (c *client) presence(of *client, state string) float64 {
	c.t.Helper()
	m := c.await("presence "+state, func(m *message) bool { return m.topic == of.me()+"/presence" && m.fields()["state"] == state })
	seen, _ := m.fields()["last_seen"].(float64)
	if m.fields()["user"] != of.login.User {
		c.t.Errorf("presence %s", m.Payload)
	}
	return seen
}

func TestPresence(t *testing.T) {
	t.Parallel()
	w := sharedWorld(t)
	inModes(t, versions, func(t *testing.T, m mode) {
		t.Parallel()
		w := w.in(t)
		ls := w.logins("alice/laptop", "bob/phone", "carol/phone")
		alice, bob, carol := w.connect(ls[0], m), w.connect(ls[1], m), w.connect(ls[2], m)
		alice.inbox()
		alice.subscribe(bob.me() + "/presence")
		alice.presence(bob, "online")
		if m := alice.waiting; len(m) > 0 {
			t.Errorf("beside the state came %s", alice.summary())
		}
		bob.send(bob.me()+"/presence", `{"state":"away"}`)
		alice.presence(bob, "away")
		carol.subscribe(bob.me() + "/presence")
		if got := carol.on(bob.me() + "/presence"); !got.Retain || got.fields()["state"] != "away" {
			t.Errorf("at a new subscription: retain %v %s", got.Retain, got.Payload)
		}
		carol.send(carol.me()+"/presence", `{"state":"invisible"}`)
		carol.Disconnect()
		bob.Disconnect()
		if seen := alice.presence(bob, "offline"); seen == 0 {
			t.Error("offline without last seen")
		}
		alice.refused(mqttest.Publish{Topic: bob.me() + "/presence", Payload: []byte(`{"state":"online"}`)}, 0x87, "not_allowed")
	})
}

func TestPresencePrivacy(t *testing.T) {
	t.Parallel()
	w := sharedWorld(t)
	ls := w.logins("alice/laptop", "bob/phone", "carol/phone")
	alice, bob, carol := w.online(ls[0], v5), w.online(ls[1], v5), w.online(ls[2], v5)
	see := func(c *client) bool {
		var p struct{ Presence string }
		c.call("user.get", map[string]any{"user": ls[1].User}, &p)
		c.subscribe(bob.me() + "/presence")
		// The state comes before the answer to what is asked behind it.
		c.call("user.get", map[string]any{"user": ls[1].User}, nil)
		retained := false
		for i, m := range c.waiting {
			if m.topic == bob.me()+"/presence" {
				retained = true
				c.waiting = append(c.waiting[:i:i], c.waiting[i+1:]...)
				break
			}
		}
		if retained != (p.Presence != "") {
			t.Errorf("user.get shows %q, at a subscription came a state: %v", p.Presence, retained)
		}
		return retained
	}
	bob.call("user.update", map[string]any{"presence": "nobody"}, nil)
	if see(alice) {
		t.Error("presence is for nobody, alice sees it")
	}
	bob.call("user.update", map[string]any{"presence": "shared"}, nil)
	bob.send(alice.me(), "hi")
	if !see(alice) || see(carol) {
		t.Error("presence is for those who share a chat: alice does, carol does not")
	}
	bob.call("user.update", map[string]any{"presence": "everyone"}, nil)
	if !see(carol) {
		t.Error("presence is for everyone, carol does not see it")
	}
	bob.call("block.add", map[string]any{"user": ls[2].User}, nil)
	if see(carol) {
		t.Error("bob has blocked carol, she sees his presence")
	}
}

func TestPresenceIsNeverAStorm(t *testing.T) {
	t.Parallel()
	w := sharedWorld(t)
	ls := w.logins("alice/laptop", "bob/phone")
	alice := w.online(ls[0], v5)
	bob := w.connect(ls[1], v5)
	alice.subscribe(bob.me() + "/presence")
	alice.presence(bob, "online")
	for i := range 50 {
		bob.send(bob.me()+"/presence", fmt.Sprintf(`{"state":%q}`, []string{"away", "busy"}[i%2]))
		bob.Disconnect()
		bob = w.connect(ls[1], v5)
	}
	bob.send(bob.me()+"/presence", `{"state":"busy"}`)
	alice.presence(bob, "busy")
	n := 0
	for _, m := range alice.waiting {
		if m.topic == bob.me()+"/presence" {
			n++
		}
	}
	// One change in 10 s: the first one at once, then the last one.
	if n > 2 {
		t.Errorf("100 changes of state were told %d times", n+1)
	}
}
