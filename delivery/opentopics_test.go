package delivery_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"tidings/delivery"
	"tidings/topics"
)

// openWorld is a world with open topics below open/.
func openWorld(t testing.TB, change func(*delivery.Config), users ...string) *world {
	t.Helper()
	names, err := topics.NewOpen([]string{"open/#"})
	if err != nil {
		t.Fatal(err)
	}
	cfg := delivery.Config{CursorFlush: 5 * time.Millisecond}
	cfg.Open.Names = names
	if change != nil {
		change(&cfg)
	}
	return newWorldWith(t, cfg, users...)
}

func openPublish(topic, payload string, qos byte) delivery.Publish {
	p := delivery.Publish{Topic: []byte(topic), Payload: []byte(payload), QoS: qos}
	if qos > 0 {
		p.PacketID = 7
	}
	return p
}

// payloads are what the device has got on a topic, in order.
func (d *device) payloads(topic string) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []string
	for _, g := range d.got {
		if g.topic == topic {
			out = append(out, g.payload)
		}
	}
	return out
}

func (d *device) subscribeWith(subs ...delivery.Subscription) []delivery.Granted {
	d.w.t.Helper()
	granted, err := d.s.Subscribe(d.w.t.Context(), subs)
	if err != nil {
		d.w.t.Fatalf("%s: subscribe: %v", d.name, err)
	}
	d.s.Feed()
	return granted
}

func TestOpenTopicGoesToWhoSubscribes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := openWorld(t, nil, "alice", "bob")
		alice, bob := w.connect("alice", "phone"), w.connect("bob", "phone")
		granted := bob.subscribeWith(delivery.Subscription{Filter: "open/+/temp", QoS: 2, ID: 3}, delivery.Subscription{Filter: "open/#", QoS: 0, ID: 4})
		if granted[0].QoS != 2 || granted[1].QoS != 0 || granted[0].Refusal != nil {
			t.Fatalf("granted %+v", granted)
		}
		for qos := range byte(3) {
			if a := alice.publish(openPublish("open/kitchen/temp", fmt.Sprint("t", qos), qos)); a.code != "" {
				t.Fatalf("publish at QoS %d: %+v", qos, a)
			}
		}
		alice.publish(openPublish("open/other", "o", 1))
		rest()
		if got := bob.payloads("open/kitchen/temp"); !slices.Equal(got, []string{"t0", "t1", "t2"}) {
			t.Errorf("got %q", got)
		}
		bob.mu.Lock()
		defer bob.mu.Unlock()
		for i, want := range []byte{0, 1, 2, 0} {
			if bob.got[i].qos != want {
				t.Errorf("delivery %d has QoS %d, want %d", i, bob.got[i].qos, want)
			}
		}
		if ids := bob.got[0].filters; !slices.Equal(ids, []uint32{3, 4}) && !slices.Equal(ids, []uint32{4, 3}) {
			t.Errorf("identifiers %v", ids)
		}
	})
}

func TestOpenTopicsAndChatsDoNotMix(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := openWorld(t, nil, "alice", "bob")
		alice, bob := w.connect("alice", "phone"), w.connect("bob", "phone")
		bob.subscribeWith(delivery.Subscription{Filter: "#", QoS: 1}, delivery.Subscription{Filter: "+/#", QoS: 1})
		alice.publish(text("u/bob", "secret", 1))
		alice.publish(openPublish("open/a", "plain", 1))
		rest()
		bob.mu.Lock()
		defer bob.mu.Unlock()
		if len(bob.got) != 1 || bob.got[0].topic != "open/a" {
			t.Errorf("got %+v", bob.got)
		}
		if a := alice.publish(openPublish("closed/a", "x", 1)); a.code != delivery.CodeUnknownTopic {
			t.Errorf("publish outside: %+v", a)
		}
	})
}

// What comes for a persistent session while its device is away, or the server
// down, is there when it comes back.
func TestOpenQueueWaitsForTheDevice(t *testing.T) {
	for _, how := range []string{"away", "restart", "crash"} {
		t.Run(how, func(t *testing.T) {
			w := openWorld(t, nil, "alice", "bob")
			bob := w.connect("bob", "phone")
			bob.subscribeWith(delivery.Subscription{Filter: "open/#", QoS: 2})
			if how != "crash" {
				bob.close(true)
			}
			if how == "restart" {
				w.restart()
			}
			if how == "crash" {
				w.crash()
			}
			alice := w.connect("alice", "phone")
			var want []string
			for i := range 200 {
				if a := alice.publish(openPublish("open/n", fmt.Sprint(i), 1)); a.code != "" {
					t.Fatalf("publish: %+v", a)
				}
				want = append(want, fmt.Sprint(i))
			}
			again := w.connect("bob", "phone")
			if !again.info.Present {
				t.Error("the session is not present")
			}
			again.wait("all messages", func() bool { return len(again.got) >= len(want) })
			if got := again.payloads("open/n"); !slices.Equal(got, want) {
				t.Errorf("got %d messages: %.60q", len(got), got)
			}
		})
	}
}

func TestOpenCleanStartForgets(t *testing.T) {
	w := openWorld(t, nil, "alice", "bob")
	bob, alice := w.connect("bob", "phone"), w.connect("alice", "phone")
	bob.subscribeWith(delivery.Subscription{Filter: "open/#", QoS: 1})
	bob.close(true)
	alice.publish(openPublish("open/n", "old", 1))
	clean := w.connect("bob", "phone", func(o *delivery.OpenOptions, _ *device) { o.Clean = true })
	clean.subscribeWith(delivery.Subscription{Filter: "open/#", QoS: 1})
	alice.publish(openPublish("open/n", "new", 1))
	clean.wait("the message", func() bool { return len(clean.got) > 0 })
	if got := clean.payloads("open/n"); !slices.Equal(got, []string{"new"}) {
		t.Errorf("got %q", got)
	}
}

func TestOpenRetained(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprint("restart ", restart), func(t *testing.T) {
			w := openWorld(t, nil, "alice", "bob")
			alice := w.connect("alice", "phone")
			set := func(topic, payload string, qos byte) {
				p := openPublish(topic, payload, qos)
				p.Retain = true
				if a := alice.publish(p); a.code != "" {
					t.Fatalf("publish: %+v", a)
				}
				alice.free(7)
			}
			set("open/a", "first", 1)
			set("open/a", "second", 1)
			set("open/b", "gone", 1)
			set("open/b", "", 1)
			for i := range 100 {
				set(fmt.Sprint("open/many/", i), "x", 2)
			}
			if restart {
				alice.close(true)
				w.restart()
				alice = w.connect("alice", "phone")
			}
			bob := w.connect("bob", "phone")
			bob.subscribeWith(delivery.Subscription{Filter: "open/#", QoS: 1})
			bob.wait("retained messages", func() bool { return len(bob.got) >= 101 })
			bob.mu.Lock()
			for _, g := range bob.got {
				if !g.retain || g.topic == "open/a" && g.payload != "second" {
					t.Errorf("got %+v", g)
				}
			}
			n := len(bob.got)
			bob.mu.Unlock()
			bob.subscribeWith(delivery.Subscription{Filter: "open/#", QoS: 1, RetainHandling: 1})
			alice.publish(openPublish("open/a", "third", 1))
			bob.wait("the live message", func() bool { return len(bob.got) > n })
			bob.mu.Lock()
			defer bob.mu.Unlock()
			if last := bob.got[len(bob.got)-1]; len(bob.got) != n+1 || last.retain || last.payload != "third" {
				t.Errorf("%d more, last %+v", len(bob.got)-n, last)
			}
		})
	}
}

// A full queue gives up the oldest or refuses the newest.
func TestOpenQueueLimit(t *testing.T) {
	for _, refuse := range []bool{false, true} {
		t.Run(fmt.Sprint("refuse ", refuse), func(t *testing.T) {
			w := openWorld(t, func(c *delivery.Config) { c.Open.Queue, c.Open.Refuse = 10, refuse }, "alice", "bob")
			bob, alice := w.connect("bob", "phone"), w.connect("alice", "phone")
			bob.subscribeWith(delivery.Subscription{Filter: "open/#", QoS: 1})
			bob.close(true)
			refused := 0
			for i := range 25 {
				switch a := alice.publish(openPublish("open/n", fmt.Sprint(i), 1)); a.code {
				case "":
				case delivery.CodeQuota:
					refused++
				default:
					t.Fatalf("publish: %+v", a)
				}
			}
			first, dropped := 15, uint64(15)
			if refuse {
				first, dropped = 0, 0
			}
			if got := w.e.Stats().QueueDropped.Load(); got != dropped || refused != 15-int(dropped) {
				t.Errorf("%d dropped, %d refused", got, refused)
			}
			var want []string
			for i := range 10 {
				want = append(want, fmt.Sprint(first+i))
			}
			again := w.connect("bob", "phone")
			again.wait("the queue", func() bool { return len(again.got) >= 10 })
			if got := again.payloads("open/n"); !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func TestOpenNoLocalAndShared(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := openWorld(t, nil, "alice", "bob")
		alice, one, two := w.connect("alice", "phone"), w.connect("bob", "one"), w.connect("bob", "two")
		alice.subscribeWith(delivery.Subscription{Filter: "open/#", QoS: 1, NoLocal: true})
		one.subscribeWith(delivery.Subscription{Filter: "$share/s/open/#", QoS: 1})
		two.subscribeWith(delivery.Subscription{Filter: "$share/s/open/#", QoS: 1})
		for i := range 10 {
			alice.publish(openPublish("open/n", fmt.Sprint(i), 1))
		}
		rest()
		a, b, own := len(one.payloads("open/n")), len(two.payloads("open/n")), len(alice.payloads("open/n"))
		if a != 5 || b != 5 || own != 0 {
			t.Errorf("shared %d and %d, own %d", a, b, own)
		}
		two.close(true)
		alice.publish(openPublish("open/n", "x", 1))
		rest()
		if n := len(one.payloads("open/n")); n != 6 {
			t.Errorf("the member that is left got %d", n)
		}
	})
}

// The acknowledgements of QoS 2 have two steps, and a delivery goes on after a
// reconnect where it was.
func TestOpenQoS2GoesOnAfterReconnect(t *testing.T) {
	w := openWorld(t, nil, "alice", "bob")
	alice, bob := w.connect("alice", "phone"), w.connect("bob", "phone")
	bob.subscribeWith(delivery.Subscription{Filter: "open/#", QoS: 2})
	bob.mu.Lock()
	bob.hold = true
	bob.mu.Unlock()
	for i := range 3 {
		alice.publish(delivery.Publish{Topic: []byte("open/n"), Payload: fmt.Append(nil, i), QoS: 2, PacketID: uint16(10 + i)})
	}
	bob.wait("three deliveries", func() bool { return len(bob.got) == 3 })
	tags := bob.tags()
	if bob.s.Ack(tags[0], false) {
		t.Error("PUBACK was taken for QoS 2")
	}
	if bob.s.Completed(tags[0]) {
		t.Error("PUBCOMP was taken before PUBREC")
	}
	for _, tag := range []uint16{tags[0], tags[0], tags[1], tags[1]} {
		if !bob.receive(tag) {
			t.Error("PUBREC was not taken, or not twice")
		}
	}
	bob.wait("PUBREL", func() bool { return len(bob.released) >= 2 })
	if !bob.s.Completed(tags[0]) || bob.s.Completed(tags[0]) {
		t.Error("PUBCOMP was not taken once")
	}
	bob.close(false)
	again := w.connect("bob", "phone")
	again.wait("what was outstanding", func() bool { return len(again.got) == 1 && len(again.released) == 2 })
	again.acks.Wait()
	again.mu.Lock()
	defer again.mu.Unlock()
	if g := again.got[0]; g.tag != tags[2] || !g.dup || g.payload != "2" || again.released[0] != tags[1] {
		t.Errorf("got %+v, released %v; tags were %v", g, again.released, tags)
	}
}

// A QoS 2 publish that is repeated before its PUBREL is one publish.
func TestOpenQoS2PublishIsOne(t *testing.T) {
	w := openWorld(t, nil, "alice", "bob")
	alice, bob := w.connect("alice", "phone"), w.connect("bob", "phone")
	bob.subscribeWith(delivery.Subscription{Filter: "open/#", QoS: 1})
	p := openPublish("open/n", "once", 2)
	alice.publish(p)
	p.Dup = true
	alice.publish(p)
	alice.close(false)
	again := w.connect("alice", "phone")
	again.publish(p)
	again.free(7)
	again.publish(openPublish("open/n", "last", 2))
	bob.wait("the last", func() bool { return len(bob.got) > 0 && bob.got[len(bob.got)-1].payload == "last" })
	if got := bob.payloads("open/n"); !slices.Equal(got, []string{"once", "last"}) {
		t.Errorf("got %q", got)
	}
}

// A crash forgets neither what the receiver of a QoS 2 delivery has said nor with
// which packet identifier it knows the message.
func TestOpenQoS2DeliveryGoesOnAfterCrash(t *testing.T) {
	w := openWorld(t, nil, "alice", "bob")
	alice, bob := w.connect("alice", "phone"), w.connect("bob", "phone")
	bob.subscribeWith(delivery.Subscription{Filter: "open/#", QoS: 2})
	bob.mu.Lock()
	bob.hold = true
	bob.mu.Unlock()
	for i := range 3 {
		alice.publish(delivery.Publish{Topic: []byte("open/n"), Payload: fmt.Append(nil, i), QoS: 2, PacketID: uint16(10 + i)})
	}
	bob.wait("three deliveries", func() bool { return len(bob.got) == 3 })
	tags := bob.tags()
	bob.receive(tags[1])
	bob.wait("PUBREL", func() bool { return len(bob.released) == 1 })
	w.crash()
	again := w.connect("bob", "phone")
	again.wait("what was outstanding", func() bool { return len(again.released) == 3 })
	again.acks.Wait()
	again.mu.Lock()
	defer again.mu.Unlock()
	if len(again.got) != 2 || again.got[0].tag != tags[0] || again.got[1].tag != tags[2] || !again.got[0].dup || !again.got[1].dup {
		t.Errorf("got %+v; tags were %v", again.got, tags)
	}
	if !slices.Contains(again.released, tags[1]) {
		t.Errorf("released %v; tags were %v", again.released, tags)
	}
}

// A crash forgets neither that a QoS 2 publish was taken nor that its identifier
// is free again.
func TestOpenQoS2PublishIsOneAfterCrash(t *testing.T) {
	w := openWorld(t, nil, "alice", "bob")
	bob := w.connect("bob", "phone")
	bob.subscribeWith(delivery.Subscription{Filter: "open/#", QoS: 1})
	bob.close(true)
	alice := w.connect("alice", "phone")
	alice.subscribeWith(delivery.Subscription{Filter: "open/none", QoS: 1}) // so that there is a session
	taken, free := openPublish("open/n", "taken", 2), openPublish("open/n", "free", 2)
	free.PacketID = 8
	alice.publish(taken)
	alice.publish(free)
	if !alice.free(8) {
		t.Error("there was no publish to be released")
	}
	for range 2 {
		w.crash()
		alice = w.connect("alice", "phone")
	}
	taken.Dup, free.Dup = true, true
	alice.publish(taken)
	alice.publish(free)
	if !alice.free(7) || alice.free(7) {
		t.Error("the publish was not released once")
	}
	alice.publish(openPublish("open/n", "last", 2))
	again := w.connect("bob", "phone")
	again.wait("the last", func() bool { return len(again.got) > 0 && again.got[len(again.got)-1].payload == "last" })
	if got, want := again.payloads("open/n"), []string{"taken", "free", "free", "last"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A subscription holds from when the carrier has read it, before it is durable and
// answered; one that is not granted is taken back.
func TestOpenSubscriptionHoldsAtOnce(t *testing.T) {
	for _, temporary := range []bool{false, true} {
		t.Run(fmt.Sprint("temporary ", temporary), func(t *testing.T) {
			w := openWorld(t, nil, "alice", "bob")
			alice := w.connect("alice", "phone")
			bob := w.connect("bob", "phone", func(o *delivery.OpenOptions, _ *device) { o.Temporary = temporary })
			subs := []delivery.Subscription{{Filter: "open/a", QoS: 1}, {Filter: "closed/a", QoS: 1}}
			bob.s.Expect(subs)
			alice.publish(openPublish("open/a", "early", 1))
			bob.wait("the early message", func() bool { return len(bob.got) == 1 })
			if granted := bob.subscribeWith(subs...); granted[0].Refusal != nil || granted[1].Refusal == nil {
				t.Errorf("granted %+v", granted)
			}
			alice.publish(openPublish("open/a", "late", 1))
			bob.wait("the late message", func() bool { return len(bob.got) == 2 })
		})
	}
}

func TestOpenSubscriptionIsTakenBack(t *testing.T) {
	w := openWorld(t, nil, "alice", "bob")
	alice, bob := w.connect("alice", "phone"), w.connect("bob", "phone")
	bob.subscribeWith(delivery.Subscription{Filter: "open/before", QoS: 1})
	subs := []delivery.Subscription{{Filter: "open/a", QoS: 1}}
	bob.s.Expect(subs)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := bob.s.Subscribe(ctx, subs); err == nil {
		t.Fatal("subscribed with a context that has ended")
	}
	alice.publish(openPublish("open/a", "x", 1))
	alice.publish(openPublish("open/before", "y", 1))
	bob.wait("a message", func() bool { return len(bob.got) > 0 })
	if got := bob.payloads("open/a"); len(got) > 0 {
		t.Errorf("got %q", got)
	}
}

// What has been sent at QoS 2 before it expired is sent again after it has, also if
// retention was applied meanwhile [MQTT-4.3.3-7].
func TestOpenExpiryEndsNoExchange(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := openWorld(t, nil, "alice", "bob")
		alice, bob := w.connect("alice", "phone"), w.connect("bob", "phone")
		bob.subscribeWith(delivery.Subscription{Filter: "open/#", QoS: 2})
		bob.mu.Lock()
		bob.hold = true
		bob.mu.Unlock()
		p := openPublish("open/n", "sent", 2)
		p.Expiry = 1
		alice.publish(p)
		rest()
		bob.close(false)
		late := openPublish("open/n", "late", 2)
		late.Expiry, late.PacketID = 1, 8
		alice.publish(late)
		time.Sleep(2 * time.Second)
		if err := w.e.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		again := w.connect("bob", "phone")
		rest()
		if got := again.payloads("open/n"); !slices.Equal(got, []string{"sent"}) {
			t.Errorf("got %q", got)
		}
	})
}

// A device that has received a message before a crash gets PUBREL, also if the message
// has expired meanwhile: it keeps the packet identifier until then.
func TestOpenExpiryEndsNoExchangeAfterCrash(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := openWorld(t, nil, "alice", "bob")
		alice, bob := w.connect("alice", "phone"), w.connect("bob", "phone", holding)
		bob.subscribeWith(delivery.Subscription{Filter: "open/#", QoS: 2})
		p := openPublish("open/n", "received", 2)
		p.Expiry = 1
		alice.publish(p)
		rest()
		tag := bob.tags()[0]
		bob.receive(tag)
		rest()
		w.crash()
		time.Sleep(2 * time.Second)
		again := w.connect("bob", "phone")
		rest()
		again.mu.Lock()
		defer again.mu.Unlock()
		if len(again.got) != 0 || !slices.Equal(again.released, []uint16{tag}) {
			t.Errorf("got %+v, released %v, want %v", again.got, again.released, tag)
		}
	})
}

// A message that is given up while its QoS 2 exchange is under way is not sent again,
// but the device may have it: PUBREL has it forget the packet identifier.
func TestOpenQueueOverflowEndsTheExchange(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := openWorld(t, func(c *delivery.Config) { c.Open.Queue = 10 }, "alice", "bob")
		alice, bob := w.online("alice", "phone"), w.connect("bob", "phone", holding)
		bob.subscribeWith(delivery.Subscription{Filter: "open/#", QoS: 2})
		alice.publish(openPublish("open/n", "first", 2))
		rest()
		tag := bob.tags()[0]
		bob.close(false)
		for i := range 600 { // beyond what is trimmed together
			alice.publish(delivery.Publish{Topic: []byte("open/n"), Payload: fmt.Append(nil, i), QoS: 1, PacketID: uint16(10 + i)})
		}
		rest()
		again := w.connect("bob", "phone")
		rest()
		again.mu.Lock()
		defer again.mu.Unlock()
		if !slices.Contains(again.released, tag) || len(again.got) != 10 {
			t.Errorf("got %d messages, released %v, want %v", len(again.got), again.released, tag)
		}
	})
}

// A device that keeps most of its window open gets what has room.
func TestWindowIsFilledUp(t *testing.T) {
	for _, temporary := range []bool{false, true} {
		t.Run(fmt.Sprint("temporary ", temporary), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := openWorld(t, nil, "alice", "bob")
				alice := w.connect("alice", "phone")
				bob := w.connect("bob", "phone", func(o *delivery.OpenOptions, _ *device) { o.Window, o.Temporary = 3, temporary })
				bob.subscribeWith(delivery.Subscription{Filter: "open/#", QoS: 1})
				bob.mu.Lock()
				bob.hold = true
				bob.mu.Unlock()
				for i := range 6 {
					alice.publish(openPublish("open/n", fmt.Sprint(i), 1))
				}
				rest()
				for n := range 3 {
					tags := bob.tags()
					if len(tags) != 3+n {
						t.Fatalf("%d deliveries after %d acknowledgements", len(tags), n)
					}
					bob.s.Ack(tags[n], false)
					rest()
				}
			})
		})
	}
}

// A session that was open when the server died expires as if it had ended then; one
// that came back in time does not.
func TestOpenSessionExpiresAfterACrash(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := openWorld(t, nil, "alice", "bob", "carol")
		hour := func(o *delivery.OpenOptions, _ *device) { o.KeepFor = time.Hour }
		for _, user := range []string{"bob", "carol"} {
			d := w.connect(user, "phone", hour)
			d.subscribeWith(delivery.Subscription{Filter: "open/#", QoS: 1})
			d.s.Close(t.Context(), delivery.CloseHow{Reason: "error", KeepFor: time.Hour})
			time.Sleep(30 * time.Minute)
			w.connect(user, "phone", hour)
			time.Sleep(2 * time.Hour)
		}
		w.crash()
		time.Sleep(30 * time.Minute)
		if carol := w.connect("carol", "phone", hour); !carol.info.Present {
			t.Error("the session that came back in time is not present")
		}
		time.Sleep(40 * time.Minute)
		if bob := w.connect("bob", "phone", hour); bob.info.Present {
			t.Error("the session that came back too late is present")
		}
	})
}

// Publishes with so many receivers that a batch is done part by part reach them all
// in order.
func TestOpenBatchInParts(t *testing.T) {
	w := openWorld(t, func(c *delivery.Config) { c.DevicesPerUser = 1000 }, "alice", "bob")
	alice := w.connect("alice", "phone")
	var devices []*device
	for i := range 700 {
		d := w.connect("bob", fmt.Sprint(i), func(o *delivery.OpenOptions, _ *device) { o.Temporary = i%10 > 0 })
		d.subscribeWith(delivery.Subscription{Filter: "open/#", QoS: 1})
		devices = append(devices, d)
	}
	var ps []delivery.Publish
	var want []string
	for i := range 120 {
		p := openPublish("open/n", fmt.Sprint(i), 1)
		p.PacketID = uint16(i + 1)
		ps = append(ps, p)
		want = append(want, fmt.Sprint(i))
	}
	alice.ask(ps...)
	alice.wait("the answers", func() bool { return len(alice.answers) == len(ps) })
	for _, d := range devices {
		d.wait("all messages", func() bool { return len(d.got) >= len(want) })
		if got := d.payloads("open/n"); !slices.Equal(got, want) {
			t.Errorf("%s got %q", d.name, got)
		}
	}
	for i, a := range alice.answers {
		if a.code != "" || int(a.pid) != i+1 {
			t.Errorf("answer %d: %+v", i, a)
		}
	}
}

// What waits in memory is bounded for each session and for all, and goes with the
// session.
func TestOpenMemoryIsBounded(t *testing.T) {
	w := openWorld(t, func(c *delivery.Config) { c.DevicesPerUser = 1000 }, "alice", "bob")
	alice := w.connect("alice", "phone")
	var stuck []*device
	for i := range 40 {
		d := w.connect("bob", fmt.Sprint(i), func(o *delivery.OpenOptions, d *device) { o.Temporary, d.stuck = true, true })
		d.subscribeWith(delivery.Subscription{Filter: "open/#", QoS: 1})
		stuck = append(stuck, d)
	}
	payload := strings.Repeat("x", 200<<10)
	for range 40 {
		alice.publish(openPublish("open/n", payload, 1))
	}
	if n := w.e.MemoryQueues(); n < 100<<20 || n > 128<<20+40*(300<<10) {
		t.Errorf("%d bytes wait", n)
	}
	if w.e.Stats().QueueDropped.Load() == 0 {
		t.Error("nothing is counted as dropped")
	}
	for _, d := range stuck {
		d.close(false)
	}
	if n := w.e.MemoryQueues(); n != 0 {
		t.Errorf("%d bytes wait for nobody", n)
	}
}
