package delivery_test

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"tidings/chat"
	"tidings/delivery"
	"tidings/storage"
)

// A session lasts from its CONNACK on, be it one that never subscribes.
func TestPublishersSessionOutlivesACrash(t *testing.T) {
	w := openWorld(t, nil, "alice", "bob")
	bob := w.connect("bob", "phone")
	bob.subscribeWith(delivery.Subscription{Filter: "open/#", QoS: 1})
	bob.close(true)
	p := openPublish("open/n", "once", 2)
	w.connect("alice", "phone").publish(p)
	w.crash()
	alice := w.connect("alice", "phone")
	if !alice.info.Present {
		t.Error("the session is gone")
	}
	p.Dup = true
	alice.publish(p)
	if !alice.free(p.PacketID) {
		t.Error("there was no publish to be released")
	}
	alice.publish(openPublish("open/n", "last", 2))
	again := w.connect("bob", "phone")
	again.wait("the last", func() bool { return len(again.got) > 0 && again.got[len(again.got)-1].payload == "last" })
	if got := again.payloads("open/n"); !slices.Equal(got, []string{"once", "last"}) {
		t.Errorf("got %q", got)
	}
}

// What the receiver of a QoS 2 delivery has said on one connection is known after
// a crash of a later one, although nothing was said about it there.
func TestOpenQoS2DeliveryGoesOnAfterReconnectAndCrash(t *testing.T) {
	for _, subscribes := range []bool{false, true} {
		t.Run(fmt.Sprint("subscribes again ", subscribes), func(t *testing.T) {
			w := openWorld(t, nil, "alice", "bob")
			alice, bob := w.connect("alice", "phone"), w.connect("bob", "phone", holding)
			all := delivery.Subscription{Filter: "open/#", QoS: 2}
			bob.subscribeWith(all)
			for i := range 3 {
				alice.publish(delivery.Publish{Topic: []byte("open/n"), Payload: fmt.Append(nil, i), QoS: 2, PacketID: uint16(10 + i)})
			}
			bob.wait("three deliveries", func() bool { return len(bob.got) == 3 })
			tags := bob.tags()
			bob.receive(tags[1])
			bob.wait("PUBREL", func() bool { return len(bob.released) == 1 })
			bob.close(false)
			for range 2 {
				again := w.connect("bob", "phone", holding)
				again.wait("what was outstanding", func() bool { return len(again.got) == 2 && len(again.released) == 1 })
				if subscribes {
					again.subscribeWith(all)
				}
				if got := again.payloads("open/n"); !slices.Equal(got, []string{"0", "2"}) || again.released[0] != tags[1] {
					t.Errorf("got %q, released %v; tags were %v", got, again.released, tags)
				}
				w.crash()
			}
		})
	}
}

// The limit of a queue holds over a restart, also behind deliveries that are
// outstanding.
func TestOpenQueueLimitHoldsOverARestart(t *testing.T) {
	w := openWorld(t, func(c *delivery.Config) { c.Open.Queue = 10 }, "alice", "bob")
	bob := w.connect("bob", "phone", holding, receiving(2))
	bob.subscribeWith(delivery.Subscription{Filter: "open/#", QoS: 1})
	alice := w.connect("alice", "phone")
	publish := func(from, to int) {
		for i := from; i < to; i++ {
			alice.publish(openPublish("open/n", fmt.Sprint(i), 1))
		}
	}
	publish(0, 2)
	bob.wait("two deliveries", func() bool { return len(bob.got) == 2 })
	bob.close(false)
	publish(2, 40)
	w.crash()
	again := w.connect("bob", "phone")
	again.wait("the last", func() bool { return len(again.got) > 0 && again.got[len(again.got)-1].payload == "39" })
	want := []string{"0", "1"} // they have been sent
	for i := 30; i < 40; i++ {
		want = append(want, fmt.Sprint(i))
	}
	if got := again.payloads("open/n"); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// That a publish which the kept state holds was freed is known as long as that
// state is, whatever the packet log loses meanwhile.
func TestOpenFreedIdentifiersStayFreeOverACrash(t *testing.T) {
	w := openWorld(t, nil, "alice", "bob")
	bob := w.connect("bob", "phone")
	bob.subscribeWith(delivery.Subscription{Filter: "open/n", QoS: 1})
	bob.close(true)
	alice := w.connect("alice", "phone")
	alice.publish(openPublish("open/n", "first", 2))
	alice.close(false)
	alice = w.connect("alice", "phone")
	alice.free(7)
	w.crash() // the packet log still has it
	alice = w.connect("alice", "phone")
	packets := chat.PacketsChat(alice.s.Identity().Actor.Device)
	for rounds, trimmed := 0, false; !trimmed; rounds++ { // until the log has lost its first entries
		if rounds == 50 {
			t.Fatal("the packet log is not trimmed")
		}
		for i := range 100 {
			p := openPublish("open/other", fmt.Sprint(i), 2)
			p.PacketID = uint16(100 + i)
			alice.publish(p)
			alice.free(p.PacketID)
		}
		page, err := w.store.Read(t.Context(), storage.Range{Chat: packets, From: 1, Limit: 1})
		if err != nil || len(page) == 0 {
			t.Fatalf("packet log: %v, %v", page, err)
		}
		trimmed = page[0].Seq > 1
	}
	w.crash()
	alice = w.connect("alice", "phone")
	alice.publish(openPublish("open/n", "second", 2))
	again := w.connect("bob", "phone")
	again.wait("both", func() bool { return len(again.got) == 2 })
}

// Before a device gets what waited for it, it is durable that it is here: after a
// crash that comes again with DUP.
func TestOpenSessionIsDurableBeforeItIsFed(t *testing.T) {
	w := openWorld(t, nil, "alice", "bob")
	bob, alice := w.connect("bob", "phone"), w.connect("alice", "phone")
	bob.subscribeWith(delivery.Subscription{Filter: "open/#", QoS: 2})
	bob.close(true)
	alice.publish(openPublish("open/n", "waiting", 1))
	var saved atomic.Int64
	w.gate.on("SaveSession", func() error { saved.Add(1); return nil })
	bob = w.connect("bob", "phone")
	bob.wait("the message", func() bool { return len(bob.got) == 1 })
	if n := saved.Load(); n != 1 {
		t.Errorf("%d times saved", n)
	}
	bob.acks.Wait()
}

// A store that takes nothing any more answers no step of a QoS 2 exchange.
func TestOpenStepsAreNotAnsweredWhenTheStoreHasFailed(t *testing.T) {
	w := openWorld(t, nil, "alice", "bob")
	alice, bob := w.connect("alice", "phone"), w.connect("bob", "phone")
	bob.subscribeWith(delivery.Subscription{Filter: "open/#", QoS: 2})
	bob.mu.Lock()
	bob.hold = true
	bob.mu.Unlock()
	alice.publish(openPublish("open/n", "x", 2))
	bob.wait("the delivery", func() bool { return len(bob.got) == 1 })
	w.gate.on("Append", func() error { return storage.ErrReadOnly })
	bob.receive(bob.tags()[0])
	bob.wait("its end", func() bool { return bob.closed == delivery.ReasonUnknownOutcome })
	bob.mu.Lock()
	defer bob.mu.Unlock()
	if len(bob.released) > 0 {
		t.Error("PUBREL was sent")
	}
}

// Where the queue has given up what the device has received, the exchange is
// completed all the same.
func TestOpenReceivedIsReleasedOverAFullQueue(t *testing.T) {
	w := openWorld(t, func(c *delivery.Config) { c.Open.Queue = 5 }, "alice", "bob")
	bob := w.connect("bob", "phone")
	bob.subscribeWith(delivery.Subscription{Filter: "open/#", QoS: 2})
	bob.mu.Lock()
	bob.hold = true
	bob.mu.Unlock()
	publish := func(from, to int) {
		alice := w.connect("alice", "phone")
		for i := from; i < to; i++ {
			alice.publish(delivery.Publish{Topic: []byte("open/n"), Payload: fmt.Append(nil, i), QoS: 2, PacketID: uint16(100 + i)})
		}
	}
	publish(0, 3)
	bob.wait("three deliveries", func() bool { return len(bob.got) == 3 })
	tags := bob.tags()
	bob.receive(tags[1])
	bob.wait("PUBREL", func() bool { return len(bob.released) == 1 })
	w.crash()
	publish(10, 30)
	again := w.connect("bob", "phone")
	again.wait("what the queue has", func() bool { return len(again.got) == 5 })
	again.acks.Wait()
	again.mu.Lock()
	defer again.mu.Unlock()
	if len(again.released) == 0 || again.released[0] != tags[1] {
		t.Errorf("released %v; tags were %v", again.released, tags)
	}
	if got := again.got[0].payload; got != "25" {
		t.Errorf("the first is %q", got)
	}
}

// On a full store the steps of QoS 2 exchanges are durable before their answers all
// the same, also in a batch with a publish that is refused; and where not even they
// have room, there is no answer.
func TestOpenStepsOnAFullStore(t *testing.T) {
	for _, room := range []bool{true, false} {
		t.Run(fmt.Sprint("room ", room), func(t *testing.T) {
			w := openWorld(t, nil, "alice", "bob")
			alice, bob := w.connect("alice", "phone"), w.connect("bob", "phone")
			bob.subscribeWith(delivery.Subscription{Filter: "open/#", QoS: 2})
			bob.mu.Lock()
			bob.hold = true
			bob.mu.Unlock()
			alice.publish(openPublish("open/n", "x", 2))
			bob.wait("the delivery", func() bool { return len(bob.got) == 1 })
			tag := bob.tags()[0]
			w.gate.onAppend(func(b *storage.Batch) error {
				for i := range b.Entries {
					if !room || b.Entries[i].Message.Chat.Kind() != chat.KindPackets && !b.Entries[i].Probe {
						return storage.ErrFull
					}
				}
				return nil
			})
			turn := w.e.NewTurn()
			turn.Received(bob.s, tag, false)
			p := openPublish("open/n", "refused", 1)
			turn.Publish(bob.s, &p)
			turn.Commit()
			if !room {
				bob.wait("its end", func() bool { return bob.closed == delivery.ReasonUnknownOutcome })
				if len(bob.released) > 0 {
					t.Error("PUBREL was sent")
				}
				return
			}
			bob.wait("PUBREL and a refusal", func() bool { return len(bob.released) == 1 && len(bob.answers) == 1 })
			if a := bob.answers[0]; a.code != delivery.CodeStorageFull {
				t.Errorf("answered %+v", a)
			}
			w.crash()
			again := w.connect("bob", "phone")
			again.wait("PUBREL again", func() bool { return len(again.released) == 1 })
			again.acks.Wait()
			if len(again.got) > 0 || again.released[0] != tag {
				t.Errorf("got %+v, released %v", again.got, again.released)
			}
		})
	}
}
