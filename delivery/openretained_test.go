package delivery_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"tidings/delivery"
	"tidings/storage"
)

// retain publishes a retained message and returns the code of the answer.
func (d *device) retain(topic, payload string, qos byte) string {
	d.w.t.Helper()
	p := openPublish(topic, payload, qos)
	p.Retain = true
	a := d.publish(p)
	if qos == 2 {
		d.free(p.PacketID)
	}
	return a.code
}

// retained is what a device that is new here finds.
func (w *world) retained() []string {
	w.t.Helper()
	d := w.connect("bob", "")
	defer d.close(true)
	d.opened(0, "open/#")
	rest()
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []string
	for _, g := range d.got {
		out = append(out, g.topic+"="+g.payload)
	}
	slices.Sort(out)
	return out
}

// A publish that is refused leaves the retained message as it was, however many of
// one batch were.
func TestOpenRetainedOfRefusedPublishes(t *testing.T) {
	for _, tt := range []struct {
		method string
		err    error
	}{{"Append", storage.ErrFull}, {"Append", errors.New("cannot be reached")}, {"Chats", errors.New("cannot be reached")}} {
		t.Run(fmt.Sprint(tt.method, " ", tt.err), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := openWorld(t, nil, "alice", "bob")
				alice, away := w.connect("alice", "phone"), w.connect("bob", "phone")
				away.opened(1, "open/#")
				away.close(true)
				alice.retain("open/a", "old", 1)
				alice.retain("open/b", "old", 1)
				away = w.connect("bob", "laptop")
				away.subscribeWith(delivery.Subscription{Filter: "open/#", QoS: 1, RetainHandling: 2}) // its queue is not known yet
				away.close(true)
				w.gate.on(tt.method, func() error { return tt.err })
				var ps []delivery.Publish
				for i, payload := range []string{"1", "", "2"} {
					for k, topic := range []string{"open/a", "open/b", "open/c"} {
						p := openPublish(topic, payload, 1)
						p.Retain, p.PacketID = true, uint16(10*i+k+1)
						ps = append(ps, p)
					}
				}
				alice.ask(ps...)
				rest()
				w.gate.on(tt.method, nil)
				if got, want := w.retained(), []string{"open/a=old", "open/b=old"}; !slices.Equal(got, want) {
					t.Errorf("retained: %q, want %q", got, want)
				}
			})
		})
	}
}

// Of one batch, what is accepted stays.
func TestOpenRetainedOfPartlyRefusedBatch(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := openWorld(t, func(c *delivery.Config) { c.Open.Queue, c.Open.Refuse = 1, true }, "alice", "bob", "carol")
		alice, away := w.online("alice", "phone"), w.connect("carol", "phone")
		away.opened(1, "open/+/full")
		away.close(true)
		alice.publish(openPublish("open/x/full", "fills", 1))
		release := make(chan struct{})
		w.gate.on("Append", func() error { <-release; return nil })
		alice.ask(text("u/bob", "busy", 1))
		rest()
		pub := func(topic, payload string, qos byte, pid uint16) delivery.Publish {
			p := openPublish(topic, payload, qos)
			p.Retain, p.PacketID = true, pid
			return p
		}
		alice.ask(
			pub("open/a/full", "refused", 1, 2), pub("open/a/full", "accepted", 0, 0), pub("open/a/full", "refused", 1, 3),
			pub("open/b/full", "accepted", 0, 0), pub("open/b/full", "", 0, 0), pub("open/b/full", "refused", 1, 4),
			pub("open/c/full", "", 1, 5), pub("open/c/full", "accepted", 0, 0), pub("open/c/full", "", 0, 0),
		)
		close(release)
		rest()
		w.gate.on("Append", nil)
		if got, want := w.retained(), []string{"open/a/full=accepted"}; !slices.Equal(got, want) {
			t.Errorf("retained: %q, want %q", got, want)
		}
		alice.close(true)
		w.restart()
		if got, want := w.retained(), []string{"open/a/full=accepted"}; !slices.Equal(got, want) {
			t.Errorf("retained after a restart: %q, want %q", got, want)
		}
	})
}

// The limits count what there is; what has expired gives way.
func TestOpenRetainedLimits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := openWorld(t, func(c *delivery.Config) { c.Open.Retained, c.Open.RetainedBytes = 3, 1000 }, "alice", "bob")
		alice := w.connect("alice", "phone")
		wants := func(topic, payload, code string) {
			t.Helper()
			if got := alice.retain(topic, payload, 1); got != code {
				t.Errorf("retain %s: %q, want %q", topic, got, code)
			}
		}
		for _, topic := range []string{"open/a", "open/b"} {
			wants(topic, "1", "")
		}
		brief := openPublish("open/brief", "1", 1)
		brief.Retain, brief.Expiry = true, 10
		alice.publish(brief)
		wants("open/d", "1", delivery.CodeQuota)
		wants("open/a", "2", "")
		time.Sleep(11 * time.Second)
		wants("open/d", "1", "")
		wants("open/e", "1", delivery.CodeQuota)
		wants("open/a", strings.Repeat("x", 1000), delivery.CodeQuota)
		wants("open/a", "", "")
		wants("open/e", strings.Repeat("x", 800), "")
		wants("open/b", strings.Repeat("x", 200), delivery.CodeQuota)
		wants("open/e", "", "")
		wants("open/none", "", "")
		wants("open/e", "1", "")
		want := []string{"open/b=1", "open/d=1", "open/e=1"}
		if got := w.retained(); !slices.Equal(got, want) {
			t.Errorf("retained: %q, want %q", got, want)
		}
		alice.close(true)
		w.restart()
		if got := w.retained(); !slices.Equal(got, want) {
			t.Errorf("retained after a restart: %q, want %q", got, want)
		}
	})
}

func TestOpenRetainedExpires(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := openWorld(t, nil, "alice", "bob")
		alice := w.connect("alice", "phone")
		p := openPublish("open/a", "1", 1)
		p.Retain, p.Expiry = true, 60
		alice.publish(p)
		time.Sleep(20 * time.Second)
		for _, qos := range []byte{0, 1} {
			bob := w.connect("bob", "")
			bob.opened(qos, "open/#")
			rest()
			if len(bob.got) != 1 || bob.got[0].expiry < 36 || bob.got[0].expiry > 40 {
				t.Errorf("at QoS %d: %+v", qos, bob.got)
			}
		}
		time.Sleep(40 * time.Second)
		if got := w.retained(); len(got) != 0 {
			t.Errorf("retained: %q", got)
		}
	})
}

// A slow subscriber gets all retained messages, each once, at every QoS and however
// short his queue is, over reconnects, and while the store takes nothing for a while.
func TestOpenRetainedForSlowSubscribers(t *testing.T) {
	const many = 300
	for _, qos := range []byte{0, 1, 2} {
		for _, how := range []string{"stuck", "held", "reconnect", "full"} {
			for _, who := range []string{"phone", ""} {
				if who == "" && how == "reconnect" || qos == 0 && how != "stuck" {
					continue
				}
				t.Run(fmt.Sprintf("QoS %d %s %q", qos, how, who), func(t *testing.T) {
					bubble(t, func(t *testing.T) {
						w := openWorld(t, func(c *delivery.Config) {
							if c.Open.Queue = 20; how == "reconnect" {
								c.Open.Queue = many
							}
						}, "alice", "bob")
						alice := w.connect("alice", "phone")
						for i := range many {
							alice.retain(fmt.Sprint("open/", i), "x", 2)
						}
						if how == "full" {
							w.gate.on("Append", func() error { return storage.ErrFull })
						}
						bob := w.connect("bob", who)
						bob.mu.Lock()
						bob.stuck, bob.hold = how == "stuck", how == "held" || how == "reconnect"
						bob.mu.Unlock()
						bob.opened(qos, "open/#")
						rest()
						w.gate.on("Append", nil)
						if how == "reconnect" {
							bob.close(true)
							bob = w.connect("bob", who)
						}
						bob.mu.Lock()
						bob.stuck, bob.hold = false, false
						bob.mu.Unlock()
						bob.s.Writable()
						for _, tag := range bob.tags() {
							bob.ack(tag)
						}
						time.Sleep(10 * time.Second)
						seen := map[string]int{}
						bob.mu.Lock()
						defer bob.mu.Unlock()
						for _, g := range bob.got {
							seen[g.topic]++
							if !g.retain || g.qos != qos || seen[g.topic] > 1 {
								t.Errorf("got %+v, %d times", g, seen[g.topic])
							}
						}
						if len(seen) != many {
							t.Errorf("got %d of %d", len(seen), many)
						}
					})
				})
			}
		}
	}
}

// A retained message that waits to be sent is not sent behind the one that has
// replaced it, nor when nothing asks for it any more.
func TestOpenRetainedIsNotStale(t *testing.T) {
	for _, qos := range []byte{0, 1} {
		t.Run(fmt.Sprint(qos), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := openWorld(t, func(c *delivery.Config) { c.Open.Queue = 40 }, "alice", "bob")
				alice := w.connect("alice", "phone")
				for i := range 100 {
					alice.retain(fmt.Sprint("open/a/", i), "old", 1)
					alice.retain(fmt.Sprint("open/b/", i), "old", 1)
				}
				bob := w.connect("bob", "phone", receiving(5))
				bob.mu.Lock()
				bob.hold = true
				bob.stuck = qos == 0
				bob.mu.Unlock()
				bob.opened(qos, "open/a/#", "open/b/#", "open/a/#")
				rest()
				first := len(bob.tags())
				for i := range 100 {
					alice.retain(fmt.Sprint("open/a/", i), "new", qos)
				}
				if _, err := bob.s.Unsubscribe(t.Context(), []string{"open/b/#"}); err != nil {
					t.Fatal(err)
				}
				bob.mu.Lock()
				bob.stuck, bob.hold = false, false
				bob.mu.Unlock()
				bob.s.Writable()
				for _, tag := range bob.tags() {
					bob.ack(tag)
				}
				rest()
				latest, gone := map[string]string{}, 0
				bob.mu.Lock()
				defer bob.mu.Unlock()
				for _, g := range bob.got {
					if strings.HasPrefix(g.topic, "open/b/") {
						gone++
						continue
					}
					if latest[g.topic] == "new" {
						t.Errorf("%s: %q behind the new one", g.topic, g.payload)
					}
					latest[g.topic] = g.payload
				}
				if qos == 0 && gone > 0 || gone > 40 {
					t.Errorf("%d came for what was unsubscribed, %d at first", gone, first)
				}
			})
		})
	}
}

// What waits for a full disk keeps nothing else from the session.
func TestOpenRetainedDoesNotHoldUpChats(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := openWorld(t, nil, "alice", "bob")
		alice := w.online("alice", "phone")
		alice.retain("open/a", "x", 1)
		w.online("bob", "phone").close(true)
		alice.send("u/bob", "hi")
		bob := w.connect("bob", "phone", func(_ *delivery.OpenOptions, d *device) { d.late = true })
		w.gate.on("Append", func() error { return storage.ErrFull })
		bob.opened(1, "open/#")
		rest()
		if got := bob.texts("u/alice", 1); !slices.Equal(got, []string{"hi"}) {
			t.Errorf("got %q", got)
		}
		w.gate.on("Append", nil)
		time.Sleep(2 * time.Second)
		bob.wants("open/a", "x")
	})
}

// Expired messages are not sent from queues, in the store and in memory.
func TestOpenMessagesExpireInQueues(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := openWorld(t, nil, "alice", "bob")
		alice, bob, slow := w.connect("alice", "phone"), w.connect("bob", "phone"), w.connect("bob", "")
		bob.opened(1, "open/#")
		slow.opened(1, "open/#")
		slow.stick(true)
		bob.close(true)
		for i := range 6 {
			p := openPublish("open/n", fmt.Sprint(i), 1)
			if i%2 == 0 {
				p.Expiry = 30
			}
			alice.publish(p)
		}
		time.Sleep(time.Minute)
		if err := w.e.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		bob = w.connect("bob", "phone")
		slow.stick(false)
		slow.s.Writable()
		rest()
		bob.wants("open/n", "1", "3", "5")
		slow.wants("open/n", "1", "3", "5")
	})
}
