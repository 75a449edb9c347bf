package e2e_test

import (
	"fmt"
	"maps"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tidings/internal/mqttest"
)

// chatView is a row of rpc/chat.list.
type chatView struct {
	Chat, Title, Retention       string
	Head, Floor, Delivered, Read uint64
	Unread                       int
	Peer                         *struct{ Delivered, Read uint64 }
	TS                           int64
	Last                         *envelope
}

func chats(c *client, params map[string]any) (list []chatView, next int64) {
	c.t.Helper()
	var out struct {
		Chats []chatView
		Next  int64
	}
	c.call("chat.list", params, &out)
	return out.Chats, out.Next
}

func TestChatList(t *testing.T) {
	t.Parallel()
	w := sharedWorld(t)
	inModes(t, versions, func(t *testing.T, m mode) {
		g := newClub(t, w, m, nil)
		g.alice.send(g.topic, "to all")
		nextMillisecond()
		g.alice.sendMany(g.bob.me(), "m", 3)
		g.bob.texts(g.bob.me(), "m 1", "m 2", "m 3")
		g.bob.readUpTo(g.alice.me(), 1)
		g.alice.receipt(map[string]any{"chat": g.bob.me(), "user": g.bob.login.User, "delivered": 3.0, "read": 1.0})
		nextMillisecond()
		g.carol.send(g.bob.me(), "me too")
		g.bob.texts(g.bob.me(), "me too")

		list, _ := chats(g.bob, nil)
		var order []string
		for _, v := range list {
			order = append(order, v.Chat)
		}
		if diff := cmp.Diff([]string{g.carol.me(), g.alice.me(), g.topic}, order); diff != "" {
			t.Fatalf("chats, the latest first (-want +got):\n%s", diff)
		}
		v := list[1]
		if v.Head != 3 || v.Floor != 1 || v.Unread != 2 || v.Delivered != 3 || v.Read != 1 || v.Last == nil || v.Last.text() != "m 3" || v.TS != v.Last.TS {
			t.Errorf("bob's view of alice: %+v", v)
		}
		if v := list[2]; v.Title != "Club" || v.Head != 2 || v.Unread != 1 || v.Last.text() != "to all" {
			t.Errorf("bob's view of the group: %+v", v)
		}
		list, _ = chats(g.alice, nil)
		if v := list[0]; v.Chat != g.bob.me() || v.Unread != 0 || v.Peer == nil || v.Peer.Delivered != 3 || v.Peer.Read != 1 {
			t.Errorf("alice's view of bob: %+v", v)
		}
		var paged []string
		var before int64
		for {
			page, next := chats(g.bob, map[string]any{"limit": 1, "before": before})
			for _, v := range page {
				paged = append(paged, v.Chat)
			}
			if before = next; next == 0 || len(paged) > 10 {
				break
			}
		}
		if diff := cmp.Diff(order, paged); diff != "" {
			t.Errorf("page by page (-want +got):\n%s", diff)
		}
	})
}

// nextMillisecond waits until chats that are written to from now on are later ones.
func nextMillisecond() {
	for now := time.Now().UnixMilli(); time.Now().UnixMilli() == now; {
		runtime.Gosched()
	}
}

func TestHistory(t *testing.T) {
	t.Parallel()
	w := sharedWorld(t)
	ls := w.logins("alice/laptop", "bob/phone", "carol/phone")
	alice, bob, carol := w.online(ls[0], v5), w.online(ls[1], v3), w.online(ls[2], v5)
	alice.sendMany(bob.me(), "m", 120)
	seqs := func(from, to int) string { return fmt.Sprintf("%d…%d", from, to) }
	for _, c := range []struct {
		name   string
		params map[string]any
		want   string
		more   bool
	}{
		{"the latest", nil, seqs(71, 120), true},
		{"limit", map[string]any{"limit": 5}, seqs(116, 120), true},
		{"before", map[string]any{"before": 21, "limit": 10}, seqs(11, 20), true},
		{"before the second", map[string]any{"before": 2}, seqs(1, 1), false},
		{"before the first", map[string]any{"before": 1}, "none", false},
		{"after", map[string]any{"after": 100, "limit": 5}, seqs(101, 105), true},
		{"after, to the end", map[string]any{"after": 100}, seqs(101, 120), false},
		{"after the last", map[string]any{"after": 120}, "none", false},
		{"between", map[string]any{"after": 10, "before": 14}, seqs(11, 13), false},
		{"all", map[string]any{"limit": 500}, seqs(1, 120), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			params := map[string]any{"chat": alice.me()}
			maps.Copy(params, c.params)
			p := bob.history(params)
			got := "none"
			if n := len(p.Messages); n > 0 {
				got = seqs(int(p.Messages[0].Seq), int(p.Messages[n-1].Seq))
				for i, e := range p.Messages {
					if e.Seq != p.Messages[0].Seq+uint64(i) || e.text() != fmt.Sprintf("m %d", e.Seq) || e.Chat != alice.me() {
						t.Fatalf("entry %d: %+v", i, e)
					}
				}
			}
			if got != c.want || p.More != c.more || p.Head != 120 || p.Floor != 1 {
				t.Errorf("%s, more %v, head %d, floor %d; want %s, more %v", got, p.More, p.Head, p.Floor, c.want, c.more)
			}
		})
	}
	// Another's chat is not to be seen, whatever one calls it.
	if p := carol.history(map[string]any{"chat": bob.me()}); len(p.Messages) > 0 || p.Head != 0 {
		t.Errorf("carol sees %+v", p)
	}
	carol.callRefused("history", map[string]any{"chat": bob.me() + "/events"}, "not_allowed")
	carol.callRefused("history", map[string]any{}, "malformed")
	if p := bob.history(map[string]any{"chat": bob.me() + "/events"}); p.Head != uint64(len(p.Messages)) {
		t.Errorf("own events: %+v", p)
	}
}

func TestDevices(t *testing.T) {
	t.Parallel()
	w := sharedWorld(t)
	inModes(t, allModes, func(t *testing.T, m mode) {
		w := w.in(t)
		ls := w.logins("alice/laptop", "alice/phone", "bob/phone")
		laptop, phone, bob := w.online(ls[0], m), w.online(ls[1], m), w.online(ls[2], m)
		for _, d := range devices(laptop) {
			if !d.Online || !d.Inbox || d.Current != (d.Device == "laptop") || d.ByPassword || d.Created == 0 {
				t.Errorf("device %+v", d)
			}
		}
		laptop.call("device.revoke", map[string]any{"device": "phone"}, nil)
		if code := phone.ended(); m.version == mqttest.V5 && code != 0x87 {
			t.Errorf("the revoked device's connection ended with %#02x, want 0x87", code)
		}
		if code := w.refusedLogin(ls[1], m, options(m)); code != badLogin(m) {
			t.Errorf("login of a revoked device: %#02x", code)
		}
		if e := laptop.on(laptop.me() + "/events"); e.Type != "device.revoked" {
			t.Errorf("event %s", e.Payload)
		}
		if list := devices(laptop); len(list) != 1 {
			t.Errorf("devices afterwards: %+v", list)
		}
		laptop.callRefused("device.revoke", map[string]any{"device": "phone"}, "not_found")
		laptop.callRefused("device.revoke", map[string]any{"device": "none"}, "not_found")
		// Its name is barred for ever.
		if out, err := w.CLI(t.Context(), "", "device", "add", ls[1].User, "phone", "-o", "json"); err == nil {
			t.Errorf("the name was given out again: %s", out)
		}
		bob.send(laptop.me(), "hi")
		laptop.texts(laptop.me(), "hi")
	})
}

// badLogin is the code of a CONNACK for a wrong name or password.
func badLogin(m mode) byte {
	if m.version == mqttest.V5 {
		return 0x86
	}
	return 4
}

func TestRevokingADeviceThatKnowsThePassword(t *testing.T) {
	t.Parallel()
	w := sharedWorld(t)
	l := w.logins("alice/laptop")[0]
	w.cli("first-word\n", "user", "passwd", l.User, "--password-stdin")
	byWord := l
	byWord.Device, byWord.Token = "phone", "first-word"
	laptop, phone := w.online(l, v5), w.online(byWord, v5)
	laptop.callRefused("device.revoke", map[string]any{"device": "phone"}, "password_required")
	laptop.call("device.revoke", map[string]any{"device": "phone", "password": "second-word"}, nil)
	phone.ended()
	byWord.Device = "tablet"
	if code := w.refusedLogin(byWord, v5, options(v5)); code != 0x86 {
		t.Errorf("login by the old password: %#02x", code)
	}
	byWord.Token = "second-word"
	w.online(byWord, v5)
	laptop.call("device.revoke", map[string]any{"device": "tablet", "keep_password": true}, nil)
}

func TestUserSettings(t *testing.T) {
	t.Parallel()
	w := sharedWorld(t)
	ls := w.logins("alice/laptop", "bob/phone")
	alice, bob := w.online(ls[0], v5), w.online(ls[1], v3)
	bob.call("user.update", map[string]any{"name": "Bob ☃", "presence": "nobody", "writers": "shared", "adders": "nobody", "read_receipts": false}, nil)
	type settings struct {
		Presence, Writers, Adders string
		ReadReceipts              bool `json:"read_receipts"`
	}
	type profile struct {
		User, Name, Presence string
		Settings             *settings
	}
	var own, others profile
	bob.call("user.get", map[string]any{"user": ls[1].User}, &own)
	alice.call("user.get", map[string]any{"user": ls[1].User}, &others)
	if diff := cmp.Diff(profile{ls[1].User, "Bob ☃", own.Presence, &settings{"nobody", "shared", "nobody", false}}, own); diff != "" {
		t.Errorf("own profile (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(profile{ls[1].User, "Bob ☃", "", nil}, others); diff != "" {
		t.Errorf("as alice sees it (-want +got):\n%s", diff)
	}
	bob.callRefused("user.update", map[string]any{"writers": "some"}, "malformed")
	bob.callRefused("user.update", map[string]any{"name": strings.Repeat("x", 257)}, "malformed")
	bob.callRefused("user.update", map[string]any{"Name": "x"}, "malformed")
	alice.callRefused("user.get", map[string]any{"user": "nobody-of-that-name"}, "not_found")
}

func TestWritersAndAdders(t *testing.T) {
	t.Parallel()
	w := sharedWorld(t)
	inModes(t, versions, func(t *testing.T, m mode) {
		w := w.in(t)
		ls := w.logins("alice/laptop", "bob/phone")
		alice, bob := w.online(ls[0], m), w.online(ls[1], m)
		bob.call("user.update", map[string]any{"writers": "shared", "adders": "nobody"}, nil)
		alice.refused(mqttest.Publish{Topic: bob.me(), Payload: []byte("may I?")}, 0x87, "not_allowed")
		bob.send(alice.me(), "yes")
		alice.send(bob.me(), "thanks")
		bob.texts(bob.me(), "thanks")

		group := "g-" + ls[0].User
		var made struct{ Added, Invited []string }
		alice.call("group.create", map[string]any{"group": group, "members": []string{ls[1].User}}, &made)
		if len(made.Added) != 0 || len(made.Invited) != 1 {
			t.Errorf("group.create: %+v", made)
		}
		if e := bob.await("an invitation", func(m *message) bool { return m.Type == "group.invited" }); !strings.Contains(string(e.Body), group) {
			t.Errorf("event %s", e.Payload)
		}
		bob.refused(mqttest.Publish{Topic: "g/" + group, Payload: []byte("in?")}, 0x87, "not_allowed")
		bob.call("group.join", map[string]any{"group": group}, nil)
		bob.send("g/"+group, "in")
		alice.await("bob's text", func(m *message) bool { return m.topic == "g/"+group && m.text() == "in" })
		bob.callRefused("group.join", map[string]any{"group": group + "-2"}, "not_allowed")
	})
}

func TestBlocks(t *testing.T) {
	t.Parallel()
	w := sharedWorld(t)
	inModes(t, versions, func(t *testing.T, m mode) {
		w := w.in(t)
		ls := w.logins("alice/laptop", "bob/phone")
		alice, bob := w.online(ls[0], m), w.online(ls[1], m)
		bob.call("block.add", map[string]any{"user": ls[0].User}, nil)
		var list struct{ Users []string }
		bob.call("block.list", nil, &list)
		if diff := cmp.Diff([]string{ls[0].User}, list.Users); diff != "" {
			t.Errorf("blocked (-want +got):\n%s", diff)
		}
		alice.refused(mqttest.Publish{Topic: bob.me(), Payload: []byte("hello?")}, 0x87, "not_allowed")
		bob.call("block.remove", map[string]any{"user": ls[0].User}, nil)
		alice.send(bob.me(), "hello!")
		bob.texts(bob.me(), "hello!")
		bob.callRefused("block.add", map[string]any{"user": ls[1].User}, "malformed")
		bob.callRefused("block.add", map[string]any{"user": "nobody-of-that-name"}, "not_found")
		bob.callRefused("block.add", map[string]any{}, "malformed")
	})
}

func TestRequests(t *testing.T) {
	t.Parallel()
	w := sharedWorld(t)
	inModes(t, allModes, func(t *testing.T, m mode) {
		w := w.in(t)
		ls := w.logins("alice/laptop", "bob/phone")
		alice := w.online(ls[0], m)
		me, group := alice.me(), "g-"+ls[0].User
		answer := func(rid string) string { return string(alice.on(me + "/rpc/" + rid).Payload) }

		t.Run("the same rid is run once", func(t *testing.T) {
			for range 2 {
				alice.send("rpc/group.create", fmt.Sprintf(`{"rid":"1","group":%q}`, group))
				if got := answer("1"); got != `{"rid":"1","result":{"added":[],"invited":[],"seq":1}}` {
					t.Errorf("answer %s", got)
				}
			}
			alice.send("rpc/group.create", fmt.Sprintf(`{"rid":"2","group":%q}`, group))
			if got := answer("2"); !strings.Contains(got, `"error":{"code":"exists"`) {
				t.Errorf("answer to another rid: %s", got)
			}
		})
		t.Run("also on another connection", func(t *testing.T) {
			alice.Disconnect()
			alice = w.connect(ls[0], m)
			alice.inbox()
			alice.send("rpc/group.create", fmt.Sprintf(`{"rid":"1","group":%q}`, group))
			if got := answer("1"); !strings.Contains(got, `"seq":1`) {
				t.Errorf("answer %s", got)
			}
		})
		t.Run("what is no request", func(t *testing.T) {
			for _, c := range []struct {
				topic, payload, word string
				code                 byte
			}{
				{"rpc/user.get", "hello", "malformed", 0x99},
				{"rpc/user.get", `{"user":"x"}`, "malformed", 0x99},
				{"rpc/user.get", `{"rid":"a/b","user":"x"}`, "malformed", 0x99},
				{"rpc/user.get", `{"rid":"1","rid":"1"}`, "malformed", 0x99},
				{"rpc/user/get", `{"rid":"1"}`, "unknown_topic", 0x90},
			} {
				alice.refused(mqttest.Publish{Topic: c.topic, Payload: []byte(c.payload)}, c.code, c.word)
			}
			for payload, word := range map[string]string{
				`{"rid":"9","user":"x","more":1}`: "malformed", `{"rid":"9","user":7}`: "malformed", `{"rid":"9"}`: "malformed",
			} {
				alice.send("rpc/user.get", payload)
				if got := answer("9"); !strings.Contains(got, `"code":"`+word+`"`) {
					t.Errorf("%s: answer %s", payload, got)
				}
			}
			alice.send("rpc/no.such", `{"rid":"9"}`)
			if got := answer("9"); !strings.Contains(got, `"code":"unknown_operation"`) {
				t.Errorf("answer %s", got)
			}
		})
		if m.version == mqttest.V5 {
			p := mqttest.Publish{Topic: "rpc/device.list", Payload: []byte("{}"), Props: &mqttest.Properties{}}
			p.Props.SetString(mqttest.PropResponseTopic, "u/"+ls[1].User+"/rpc/x")
			alice.refused(p, 0x87, "not_allowed")
		}
	})
}
