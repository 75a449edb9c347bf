package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"tidings/chat"
	"tidings/delivery"
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
