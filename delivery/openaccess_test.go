package delivery_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"tidings/delivery"
	"tidings/topics"
)

// ruled gives a world's open topics access rules.
func ruled(t testing.TB, lines ...string) func(*delivery.Config) {
	t.Helper()
	rules, err := topics.ParseRules(lines)
	if err != nil {
		t.Fatal(err)
	}
	return func(c *delivery.Config) { c.Open.Rules = rules }
}

// opened subscribes to filters of open topics.
func (d *device) opened(qos byte, filters ...string) {
	d.w.t.Helper()
	for _, f := range filters {
		if g := d.subscribeWith(delivery.Subscription{Filter: f, QoS: qos}); g[0].Refusal != nil {
			d.w.t.Fatalf("%s: subscribe %s: %v", d.name, f, g[0].Refusal)
		}
	}
}

// wants checks what the device has got on a topic by now.
func (d *device) wants(topic string, payloads ...string) {
	d.w.t.Helper()
	if got := d.payloads(topic); !slices.Equal(got, payloads) {
		d.w.t.Errorf("%s got %q on %s, want %q", d.name, got, topic, payloads)
	}
}

func TestOpenAccessRules(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := openWorld(t, ruled(
			t, "allow alice publish open/home/+/set", "deny * publish open/home/#", "deny bob subscribe open/secret/#",
			"allow * all open/own/%u/%c/#", "deny * all open/own/#",
		), "alice", "bob")
		alice, bob := w.connect("alice", "phone"), w.connect("bob", "phone")
		for _, tt := range []struct {
			d     *device
			topic string
			ok    bool
		}{
			{alice, "open/home/lamp/set", true},
			{alice, "open/home/lamp", false},
			{bob, "open/home/lamp/set", false},
			{bob, "open/x", true},
			{bob, "open/own/bob/phone/a", true},
			{bob, "open/own/bob/laptop/a", false},
			{bob, "open/own/alice/phone/a", false},
		} {
			want := delivery.CodeNotAllowed
			if tt.ok {
				want = ""
			}
			for qos := range byte(2) {
				if a := tt.d.publish(openPublish(tt.topic, "x", qos)); a.code != want {
					t.Errorf("%s publishes on %s: %+v", tt.d.name, tt.topic, a)
				}
			}
		}
		if g := bob.subscribeWith(delivery.Subscription{Filter: "open/secret/#"}, delivery.Subscription{Filter: "$share/s/open/secret/a"}); g[0].Refusal == nil || g[1].Refusal == nil {
			t.Errorf("granted %+v", g)
		}
		retained := openPublish("open/secret/r", "r", 1)
		retained.Retain = true
		alice.publish(retained)
		bob.opened(1, "#") // of which a part is denied
		alice.publish(openPublish("open/secret/a", "no", 1))
		alice.publish(openPublish("open/b", "yes", 1))
		rest()
		bob.wants("open/secret/r")
		bob.wants("open/secret/a")
		bob.wants("open/b", "yes")
	})
}

// A change of a membership that the rules mention is in force when it is answered:
// for publishes, deliveries, subscriptions and what waits.
func TestOpenAccessFollowsMembership(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := openWorld(t, ruled(t, "allow @team:admin publish open/cfg", "deny * publish open/cfg", "allow @team all open/team/#", "deny * all open/team/#"), "alice", "bob")
		alice, bob := w.online("alice", "phone"), w.online("bob", "phone")
		guest, away := w.connect("bob", ""), w.connect("bob", "laptop")
		may := func(d *device, topic string, want bool) {
			t.Helper()
			if a := d.publish(openPublish(topic, "x", 1)); (a.code == "") != want {
				t.Errorf("%s publishes on %s: %q", d.name, topic, a.code)
			}
		}
		may(bob, "open/team/a", false)
		w.group(alice, "team", "bob") // which the rules mention before there is one
		may(bob, "open/team/a", true)
		may(guest, "open/team/a", true)
		for _, d := range []*device{bob, guest, away} {
			d.opened(1, "open/#", "open/team/#")
		}
		away.close(true)
		may(bob, "open/cfg", false)
		if _, err := w.e.SetRole(t.Context(), w.actor("alice"), "team", []string{"bob"}, "admin"); err != nil {
			t.Fatal(err)
		}
		may(bob, "open/cfg", true)
		bob.mu.Lock()
		bob.stuck = true
		bob.mu.Unlock()
		alice.publish(openPublish("open/team/b", "waits", 1))
		if _, err := w.e.RemoveMembers(t.Context(), w.actor("alice"), "team", []string{"bob"}); err != nil {
			t.Fatal(err)
		}
		may(bob, "open/team/a", false)
		may(bob, "open/cfg", false)
		if g := bob.subscribeWith(delivery.Subscription{Filter: "open/team/x"}); g[0].Refusal == nil {
			t.Error("a filter was granted that he may not read")
		}
		w.group(alice, "other")
		if _, err := w.e.LeaveGroup(t.Context(), w.actor("alice"), "other"); err != nil { // concerns no rule
			t.Fatal(err)
		}
		bob.stick(false)
		bob.s.Writable()
		alice.publish(openPublish("open/team/b", "no", 1))
		alice.publish(openPublish("open/c", "yes", 1))
		rest()
		back := w.connect("bob", "laptop")
		rest()
		bob.wants("open/team/b")
		guest.wants("open/team/b", "waits")
		back.wants("open/team/b")
		for _, d := range []*device{bob, guest, back} {
			d.wants("open/c", "yes")
		}
		if _, err := w.e.AddMembers(t.Context(), w.actor("alice"), "team", []string{"bob"}); err != nil {
			t.Fatal(err)
		}
		alice.publish(openPublish("open/team/b", "again", 1))
		rest()
		bob.wants("open/team/b", "again")
	})
}

// The store may be away when a membership changes.
func TestOpenAccessWaitsForTheStore(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := openWorld(t, ruled(t, "allow @team all open/team/#", "deny * all open/team/#"), "alice", "bob")
		alice, bob := w.online("alice", "phone"), w.connect("bob", "phone")
		w.group(alice, "team", "bob")
		w.gate.behind("Append", func() error {
			w.gate.on("Inbox", func() error { return fmt.Errorf("cannot be reached") })
			time.AfterFunc(2*time.Second, func() { w.gate.on("Inbox", nil) })
			return nil
		})
		if _, err := w.e.RemoveMembers(t.Context(), w.actor("alice"), "team", []string{"bob"}); err != nil {
			t.Fatal(err)
		}
		w.gate.behind("Append", nil)
		if a := bob.publish(openPublish("open/team/a", "x", 1)); a.code != delivery.CodeNotAllowed {
			t.Errorf("publish: %+v", a)
		}
	})
}

// A disabled user gets nothing more, connected or not; what was put aside before is
// there when he is enabled again, also after a restart.
func TestOpenDisabledUser(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprint("restart ", restart), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := openWorld(t, nil, "alice", "bob")
				alice, bob, away, guest := w.connect("alice", "phone"), w.connect("bob", "phone"), w.connect("bob", "laptop"), w.connect("bob", "")
				for _, d := range []*device{bob, away, guest} {
					d.opened(1, "open/#")
				}
				away.close(true)
				alice.publish(openPublish("open/n", "1", 1))
				rest()
				if err := w.e.SetDisabled(t.Context(), "bob", true); err != nil {
					t.Fatal(err)
				}
				alice.publish(openPublish("open/n", "2", 1))
				rest()
				if restart {
					alice.close(true)
					w.restart()
					alice = w.connect("alice", "phone")
				}
				before := w.e.Stats().Queued.Load()
				alice.publish(openPublish("open/n", "3", 1))
				if n := w.e.Stats().Queued.Load() - before; n != 0 {
					t.Errorf("%d messages were put aside", n)
				}
				if err := w.e.SetDisabled(t.Context(), "bob", false); err != nil {
					t.Fatal(err)
				}
				alice.publish(openPublish("open/n", "4", 1))
				now, back := w.connect("bob", "phone"), w.connect("bob", "laptop")
				alice.publish(openPublish("open/n", "5", 1))
				rest()
				bob.wants("open/n", "1")
				guest.wants("open/n", "1")
				now.wants("open/n", "4", "5")
				back.wants("open/n", "1", "4", "5")
			})
		})
	}
}

// A device that is revoked, or whose user is removed, leaves nothing behind.
func TestOpenRevokedDevice(t *testing.T) {
	for _, how := range []string{"revoked", "removed"} {
		for _, live := range []bool{false, true} {
			t.Run(fmt.Sprint(how, " live ", live), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					w := openWorld(t, nil, "alice", "bob")
					alice, bob := w.connect("alice", "phone"), w.connect("bob", "phone")
					bob.opened(1, "open/#", "$share/s/open/#")
					id := bob.s.Identity()
					if !live {
						bob.close(true)
						alice.publish(openPublish("open/n", "1", 1))
						alice.publish(openPublish("open/n", "2", 1))
					}
					var err error
					if how == "revoked" {
						err = w.e.RevokeDevice(t.Context(), w.ids["bob"], "phone")
					} else {
						err = w.e.RemoveUser(t.Context(), "bob")
					}
					if err != nil {
						t.Fatal(err)
					}
					before := w.e.Stats().Queued.Load()
					alice.publish(openPublish("open/n", "2", 1))
					rest()
					if n := w.e.Stats().Queued.Load() - before; n != 0 {
						t.Errorf("%d messages were put aside", n)
					}
					if n := w.e.OpenSubscribers(); n != 0 {
						t.Errorf("%d subscribers are left", n)
					}
					if n := w.queued(id); n > 1 { // the last one stays, so that seqs go on
						t.Errorf("%d messages wait for nobody", n)
					}
					bob.wants("open/n")
				})
			})
		}
	}
}
