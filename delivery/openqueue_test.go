package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tidings/chat"
	"tidings/delivery"
	"tidings/hooks"
	"tidings/storage"
)

// queued returns how many entries a device's queue has in the store.
func (w *world) queued(id delivery.Identity) int {
	w.t.Helper()
	msgs, err := w.store.Read(context.Background(), storage.Range{Chat: chat.QueueChat(id.Actor.Device), Limit: 1 << 20})
	if err != nil {
		w.t.Fatal(err)
	}
	return len(msgs)
}

// A restored session has a subscriber whatever the index has lost, and one that
// has given up its filters still acknowledges what it was sent.
func TestOpenUnsubscribedWithMessagesOutstanding(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := openWorld(t, nil, "alice", "bob")
		alice, bob := w.connect("alice", "phone"), w.connect("bob", "phone", holding)
		bob.opened(1, "open/#")
		for i := range 3 {
			alice.publish(openPublish("open/n", fmt.Sprint(i), 1))
		}
		rest()
		if _, err := bob.s.Unsubscribe(t.Context(), []string{"open/#"}); err != nil {
			t.Fatal(err)
		}
		alice.publish(openPublish("open/n", "behind", 1))
		bob.close(true)
		alice.close(true)
		w.restart()
		again := w.connect("bob", "phone")
		rest()
		again.wants("open/n", "0", "1", "2")
		again.close(true)
		again = w.connect("bob", "phone")
		rest()
		again.wants("open/n")
	})
}

// What the session has subscribed to is in the index after a reconnect, although
// the index had let go of it.
func TestOpenReconnectWhileExpiring(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := openWorld(t, nil, "alice", "bob")
		alice, bob := w.connect("alice", "phone"), w.connect("bob", "phone")
		bob.opened(1, "open/#")
		bob.s.Close(t.Context(), delivery.CloseHow{KeepFor: time.Minute})
		time.Sleep(59 * time.Second)
		w.gate.behind("OpenSession", func() error { // the session is found in time, and expires meanwhile
			time.Sleep(2 * time.Second)
			return w.e.Sweep(t.Context())
		})
		again := w.connect("bob", "phone")
		w.gate.behind("OpenSession", nil)
		alice.publish(openPublish("open/n", "1", 1))
		rest()
		if again.info.Present {
			again.wants("open/n", "1")
		}
	})
}

// The session of an absent device expires, with its queue.
func TestOpenSessionExpires(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprint("restart ", restart), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := openWorld(t, nil, "alice", "bob")
				alice, bob, stays := w.connect("alice", "phone"), w.connect("bob", "phone"), w.connect("bob", "laptop")
				bob.opened(1, "open/#")
				stays.opened(1, "open/#")
				id := bob.s.Identity()
				bob.s.Close(t.Context(), delivery.CloseHow{KeepFor: time.Minute})
				stays.s.Close(t.Context(), delivery.CloseHow{KeepFor: time.Hour})
				alice.publish(openPublish("open/n", "1", 1))
				time.Sleep(2 * time.Minute)
				if restart {
					alice.close(true)
					w.restart()
					alice = w.connect("alice", "phone")
				} else if n := w.queued(id); n > 1 { // the last one stays, so that seqs go on
					t.Errorf("%d entries are left", n)
				}
				if n := w.e.OpenSubscribers(); n != 1 {
					t.Errorf("%d subscribers", n)
				}
				alice.publish(openPublish("open/n", "2", 1))
				again, other := w.connect("bob", "phone"), w.connect("bob", "laptop")
				again.opened(1, "open/#")
				alice.publish(openPublish("open/n", "3", 1))
				rest()
				if again.info.Present || !other.info.Present {
					t.Errorf("present: %v and %v", again.info.Present, other.info.Present)
				}
				again.wants("open/n", "3")
				other.wants("open/n", "1", "2", "3")
			})
		})
	}
}

// Nothing is delivered before Start, when CONNACK is out.
func TestOpenNothingBeforeStart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := openWorld(t, nil, "alice", "bob")
		alice, bob := w.connect("alice", "phone"), w.connect("bob", "phone")
		bob.opened(2, "open/#")
		bob.close(true)
		again := w.connect("bob", "phone", func(_ *delivery.OpenOptions, d *device) { d.late = true })
		for qos := range byte(2) {
			alice.publish(openPublish("open/n", fmt.Sprint(qos), qos))
		}
		rest()
		again.wants("open/n")
		again.s.Start()
		rest()
		again.wants("open/n", "1")
	})
}

// The publisher of a message is the same one on another connection [MQTT-3.8.3-3].
func TestOpenNoLocalOverTakeover(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := openWorld(t, nil, "alice")
		alice := w.connect("alice", "phone", func(_ *delivery.OpenOptions, d *device) { d.deaf = true })
		alice.subscribeWith(delivery.Subscription{Filter: "open/#", QoS: 1, NoLocal: true})
		release := make(chan struct{})
		w.gate.on("Append", func() error { <-release; return nil }) // the committer is busy
		alice.ask(text("u/alice", "busy", 1))
		rest()
		alice.ask(openPublish("open/n", "own", 1))
		var again *device
		var connecting sync.WaitGroup
		connecting.Go(func() { again = w.connect("alice", "phone") }) // does not wait for answers for ever
		time.Sleep(20 * time.Second)
		close(release)
		connecting.Wait()
		rest()
		again.wants("open/n")
	})
}

// A message is in the queue although its sender's connection has an unknown outcome
// behind it; the receiver gets it.
func TestOpenRoutesWhatIsStoredInFrontOfAnUnknownOutcome(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := openWorld(t, nil, "alice", "bob")
		alice, bob := w.online("alice", "phone"), w.online("bob", "phone")
		bob.opened(1, "open/#")
		alice.close(false)
		alice = w.online("alice", "phone")
		alice.send("u/bob", "known")
		alice.close(false) // with something unsettled, so that a repetition is looked for
		alice = w.online("alice", "phone")
		release := make(chan struct{})
		w.gate.on("Append", func() error { <-release; return nil })
		bob.ask(text("u/alice", "busy", 1))
		rest()
		w.gate.on("Append", nil)
		w.gate.on("Read", func() error { return errors.New("cannot be reached") })
		repeated := again(text("u/bob", "known", 1))
		alice.ask(openPublish("open/n", "1", 1), repeated)
		close(release)
		rest()
		w.gate.on("Read", nil)
		carol := w.connect("alice", "laptop")
		carol.publish(openPublish("open/n", "2", 1))
		rest()
		bob.wants("open/n", "1", "2")
	})
}

// A change of any option of a subscription is kept.
func TestOpenSubscriptionOptionsAreKept(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := openWorld(t, nil, "alice")
		alice := w.connect("alice", "phone")
		sub := delivery.Subscription{Filter: "open/#", QoS: 1}
		alice.subscribeWith(sub)
		sub.NoLocal = true
		alice.subscribeWith(sub)
		w.crash()
		alice.close(false)
		alice = w.connect("alice", "phone")
		alice.publish(openPublish("open/n", "own", 1))
		rest()
		alice.wants("open/n")
	})
}

// A durable subscriber that subscribes again gets what follows with its new QoS and
// identifier, and what waits as it was asked for.
func TestOpenSubscribesAgainWithAnotherQoS(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := openWorld(t, nil, "alice", "bob")
		alice, bob := w.connect("alice", "phone"), w.connect("bob", "phone", holding, receiving(1))
		for i, qos := range []byte{1, 2, 0} {
			bob.subscribeWith(delivery.Subscription{Filter: "open/#", QoS: qos, ID: uint32(i + 1)})
			for k := range 2 {
				alice.publish(delivery.Publish{Topic: []byte("open/n"), Payload: fmt.Append(nil, i, k), QoS: 2, PacketID: uint16(10*i + k + 1)})
			}
		}
		rest()
		bob.mu.Lock()
		bob.hold = false
		bob.mu.Unlock()
		for _, tag := range bob.tags() {
			bob.ack(tag)
		}
		rest()
		bob.mu.Lock()
		defer bob.mu.Unlock()
		var got []string
		for _, g := range bob.got {
			got = append(got, fmt.Sprintf("%s %d%v", g.payload, g.qos, g.filters))
		}
		slices.Sort(got)
		if want := []string{"0 0 1[1]", "0 1 1[1]", "1 0 2[2]", "1 1 2[2]", "2 0 0[3]", "2 1 0[3]"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// The limit of a queue holds within a batch, and counts what is not acknowledged,
// be the cursor stored or not.
func TestOpenQueueLimitIsExact(t *testing.T) {
	for _, refuse := range []bool{false, true} {
		t.Run(fmt.Sprint("refuse ", refuse), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := openWorld(t, func(c *delivery.Config) {
					c.CursorFlush, c.Open.Queue, c.Open.Refuse = time.Hour, 10, refuse
				}, "alice", "bob")
				alice, bob := w.online("alice", "phone"), w.connect("bob", "phone")
				bob.opened(1, "open/#")
				for i := range 100 { // acknowledged at once: nothing waits
					if a := alice.publish(openPublish("open/n", fmt.Sprint(i), 1)); a.code != "" {
						t.Fatalf("publish %d: %+v", i, a)
					}
					bob.wait("the acknowledgement", func() bool { return len(bob.acked) == i+1 })
				}
				bob.close(true)
				if n := w.e.Stats().QueueDropped.Load(); n != 0 {
					t.Errorf("%d dropped", n)
				}
				release := make(chan struct{})
				w.gate.on("Append", func() error { <-release; return nil })
				alice.ask(text("u/alice", "busy", 1))
				rest()
				var ps []delivery.Publish
				for i := range 25 {
					p := openPublish("open/m", fmt.Sprint(i), 1)
					p.PacketID = uint16(100 + i)
					ps = append(ps, p)
				}
				alice.ask(ps...)
				close(release)
				rest()
				bob = w.connect("bob", "phone")
				rest()
				var want []string
				for i := range 10 {
					want = append(want, fmt.Sprint(i))
					if !refuse {
						want[i] = fmt.Sprint(i + 15)
					}
				}
				bob.wants("open/m", want...)
				st := w.e.Stats()
				if dropped, refused := st.QueueDropped.Load(), st.QueueRefused.Load(); dropped+refused != 15 || (refused == 15) != refuse {
					t.Errorf("%d dropped, %d refused", dropped, refused)
				}
			})
		})
	}
}

// The store does not grow with what was acknowledged or given up.
func TestOpenQueueIsTrimmed(t *testing.T) {
	for _, how := range []string{"acknowledged", "overflow"} {
		t.Run(how, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := openWorld(t, func(c *delivery.Config) { c.Open.Queue = 50 }, "alice", "bob")
				alice, bob := w.connect("alice", "phone"), w.connect("bob", "phone")
				bob.opened(1, "open/#")
				if how == "overflow" {
					bob.close(true)
				}
				for i := range 2000 {
					alice.publish(openPublish("open/n", fmt.Sprint(i), 1))
				}
				rest()
				if n := w.queued(bob.s.Identity()); n > 50+2*256 {
					t.Errorf("%d entries are in the store", n)
				}
			})
		})
	}
}

// The queue of a session that ends with its connection is bounded by number and by
// bytes, and gives up the oldest.
func TestOpenMemoryQueueIsBounded(t *testing.T) {
	for _, tt := range []struct{ number, size, want int }{{100, 10, 20}, {100, 1 << 20, 3}} {
		t.Run(fmt.Sprint(tt), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := openWorld(t, func(c *delivery.Config) { c.BodyLimit, c.Open.Queue = 2<<20, 20 }, "alice", "bob")
				alice, bob := w.connect("alice", "phone"), w.connect("bob", "phone", temporary)
				bob.opened(1, "open/#")
				bob.stick(true)
				for i := range tt.number {
					alice.publish(openPublish("open/n", fmt.Sprint(strings.Repeat("x", tt.size), i), 1))
				}
				bob.stick(false)
				bob.s.Writable()
				rest()
				got := bob.payloads("open/n")
				if len(got) != tt.want || got[len(got)-1] != fmt.Sprint(strings.Repeat("x", tt.size), tt.number-1) {
					t.Errorf("got %d", len(got))
				}
				if n := w.e.Stats().QueueDropped.Load(); int(n) != tt.number-tt.want {
					t.Errorf("%d dropped", n)
				}
			})
		})
	}
}

// A shared subscription of absent members keeps what comes, and gives it to who
// connects first where it can.
func TestOpenSharedWithAbsentMembers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := openWorld(t, nil, "alice", "bob")
		alice := w.connect("alice", "phone")
		var members []*device
		for _, name := range []string{"one", "two", ""} {
			d := w.connect("bob", name)
			d.opened(1, "$share/s/open/#")
			members = append(members, d)
		}
		for _, d := range members {
			d.close(true)
		}
		for i := range 10 {
			alice.publish(openPublish("open/n", fmt.Sprint(i), 1))
		}
		one := w.connect("bob", "one")
		for i := range 10 {
			alice.publish(openPublish("open/n", fmt.Sprint(10+i), 1))
		}
		two := w.connect("bob", "two")
		rest()
		seen := map[string]int{}
		for _, d := range []*device{one, two} {
			for _, p := range d.payloads("open/n") {
				seen[p]++
			}
		}
		if a, b := len(one.payloads("open/n")), len(two.payloads("open/n")); a != 15 || b != 5 || len(seen) != 20 {
			t.Errorf("%d and %d, %d different ones", a, b, len(seen))
		}
		for _, d := range []*device{one, two} {
			if _, err := d.s.Unsubscribe(t.Context(), []string{"$share/s/open/#"}); err != nil {
				t.Fatal(err)
			}
		}
		before := w.e.Stats().Queued.Load()
		alice.publish(openPublish("open/n", "nobody", 1))
		if w.e.Stats().Queued.Load() != before {
			t.Error("a member is left")
		}
	})
}

// What a session before has left in the queue is not for a new one, also if the heads
// are read before the queue is emptied.
func TestOpenNewSessionGetsNothingOld(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := openWorld(t, nil, "alice", "bob")
		alice, bob := w.connect("alice", "phone"), w.online("bob", "phone")
		bob.opened(1, "open/#")
		bob.stick(true)
		alice.publish(openPublish("open/n", "old", 1))
		w.gate.on("Advance", func() error { return errors.New("cannot be reached") }) // so that it stays
		bob.s.Close(t.Context(), delivery.CloseHow{Forget: true})
		w.gate.on("Advance", nil)
		bob = w.connect("bob", "phone", func(_ *delivery.OpenOptions, d *device) { d.late = true })
		if _, err := bob.s.Subscribe(t.Context(), []delivery.Subscription{{Filter: "u/bob", QoS: 1}}); err != nil {
			t.Fatal(err)
		}
		sub := delivery.Subscription{Filter: "open/#", QoS: 1}
		bob.s.Expect([]delivery.Subscription{sub})
		bob.s.Start()
		rest()
		bob.wants("open/n")
		bob.subscribeWith(sub)
		alice.publish(openPublish("open/n", "new", 1))
		rest()
		bob.wants("open/n", "new")
	})
}

// A QoS 2 publish that was refused is not taken for held after a crash, when its
// packet identifier is used again.
func TestOpenQoS2RefusedIsNotHeldAfterCrash(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := openWorld(t, func(c *delivery.Config) { c.Open.Queue, c.Open.Refuse = 1, true }, "alice", "bob")
		alice, bob := w.connect("alice", "phone"), w.connect("bob", "phone")
		alice.opened(1, "open/none") // so that there is a session
		bob.opened(1, "open/#")
		bob.close(true)
		for i, code := range []string{"", delivery.CodeQuota} {
			p := openPublish("open/n", fmt.Sprint(i), 2)
			p.PacketID = uint16(i + 1)
			if a := alice.publish(p); a.code != code {
				t.Fatalf("publish %d: %+v", i, a)
			}
			alice.free(p.PacketID)
		}
		w.crash()
		alice.close(false)
		bob = w.connect("bob", "phone")
		rest()
		alice = w.connect("alice", "phone")
		p := openPublish("open/n", "2", 2)
		p.PacketID = 2
		alice.publish(p)
		rest()
		bob.wants("open/n", "0", "2")
	})
}

// Many subscribers of one topic cost what they are.
func TestOpenManySubscribers(t *testing.T) {
	const many, messages = 10_000, 5
	w := openWorld(t, func(c *delivery.Config) { c.DevicesPerUser = many }, "alice", "bob")
	alice := w.connect("alice", "phone")
	devices := make([]*device, many)
	for i := range devices {
		name := ""
		if i%10 == 0 {
			name = fmt.Sprint("d", i)
		}
		devices[i] = w.connectQuietly("bob", name)
		devices[i].opened(byte(i%3), "open/#")
	}
	for i := range messages {
		if a := alice.publish(openPublish("open/n", fmt.Sprint(i), 1)); a.code != "" {
			t.Fatalf("publish: %+v", a)
		}
	}
	for _, d := range devices {
		d.wait("all", func() bool { return len(d.got) == messages })
	}
	perReceiver := testing.AllocsPerRun(5, func() {
		alice.publish(openPublish("open/n", "x", 1))
		for _, d := range devices {
			d.wait("it", func() bool { return len(d.got) > messages })
			d.mu.Lock()
			d.got = d.got[:messages]
			d.mu.Unlock()
		}
	}) / many
	if perReceiver > 40 { // most of it in the test's own devices
		t.Errorf("%.1f allocations for each receiver", perReceiver)
	}
	for _, d := range devices {
		d.acks.Wait()
		d.s.Close(t.Context(), delivery.CloseHow{Forget: true})
	}
	if n := w.e.OpenSubscribers(); n != 0 {
		t.Errorf("%d subscribers are left", n)
	}
}

// Everything at once, under the race detector: connections of persistent and other
// sessions, subscriptions, publishes, memberships and accounts.
func TestOpenRaces(t *testing.T) {
	w := openWorld(t, ruled(t, "allow @team all open/team/#", "deny * all open/team/#"), "alice", "bob", "carol")
	alice := w.online("alice", "phone")
	w.group(alice, "team", "carol")
	var work sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	for n := range 4 {
		work.Go(func() {
			for i := range 30 {
				var opts []option
				name := fmt.Sprint("d", n/2) // two of each: takeovers
				switch i % 5 {
				case 1:
					opts = append(opts, clean)
				case 2:
					opts = append(opts, temporary)
				case 3:
					name = ""
				}
				d, err := w.tryConnect("carol", name, opts...)
				if err != nil {
					continue
				}
				_, _ = d.s.Subscribe(ctx, []delivery.Subscription{
					{Filter: "open/#", QoS: byte(i % 3)}, {Filter: "$share/s/open/+", QoS: 1}, {Filter: "open/team/#", QoS: 1},
				})
				d.s.Feed()
				p := openPublish("open/a", "x", byte(i%2))
				p.Retain = i%4 == 0
				d.ask(p)
				if i%3 == 0 {
					_, _ = d.s.Unsubscribe(ctx, []string{"$share/s/open/+"})
				}
				d.s.Close(ctx, delivery.CloseHow{Forget: i%7 == 0, KeepFor: time.Hour})
			}
		})
	}
	work.Go(func() {
		for i := range 200 {
			p := openPublish([]string{"open/a", "open/team/b"}[i%2], fmt.Sprint(i), byte(i%3))
			p.PacketID, p.Retain = uint16(i+1), i%3 == 0
			alice.ask(p)
		}
	})
	work.Go(func() {
		for i := range 10 {
			_, _ = w.e.RemoveMembers(ctx, w.actor("alice"), "team", []string{"carol"})
			_, _ = w.e.AddMembers(ctx, w.actor("alice"), "team", []string{"carol"})
			if i%3 == 0 {
				_ = w.e.SetDisabled(ctx, "carol", true)
				_ = w.e.SetDisabled(ctx, "carol", false)
			}
			_ = w.e.Sweep(ctx)
		}
	})
	work.Wait()
	d := w.connect("carol", "d0", clean)
	d.opened(1, "open/#")
	alice.publish(openPublish("open/last", "x", 1))
	d.wait("the last message", func() bool { return slices.ContainsFunc(d.got, func(g got) bool { return g.topic == "open/last" }) })
}

// connectQuietly is connect for many devices: nothing is registered for the end of
// the test.
func (w *world) connectQuietly(user, name string, opts ...option) *device {
	w.t.Helper()
	d, err := w.tryConnect(user, name, opts...)
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}

// tryConnect is connect where it may fail.
func (w *world) tryConnect(user, name string, opts ...option) (*device, error) {
	d := &device{w: w, e: w.e, name: user + "/" + name}
	d.changed = sync.NewCond(&d.mu)
	id, err := w.e.Login(context.Background(), &hooks.Login{User: user, Client: name, Password: []byte("x")})
	if err != nil {
		return nil, err
	}
	o := delivery.OpenOptions{Link: d}
	for _, f := range opts {
		f(&o, d)
	}
	d.deaf = true // as long as there is no session that could be closed
	s, info, err := w.e.Open(context.Background(), id, o)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	d.s, d.info, d.deaf = s, info, false
	over := d.closed
	d.mu.Unlock()
	if over != 0 {
		d.Close(over)
	}
	d.s.Start()
	return d, nil
}
