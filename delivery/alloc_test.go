package delivery_test

import (
	"fmt"
	"sync"
	"testing"

	"tidings/delivery"
	"tidings/hooks"
	"tidings/storage/pebble"
)

// sink is a link that acknowledges in the background and allocates nothing.
type sink struct {
	s       *delivery.Session
	tags    chan uint16
	answers chan struct{}
	got     *sync.WaitGroup
}

func (k *sink) Deliver(d *delivery.Delivery) delivery.DeliverResult {
	if d.Ordinary {
		k.tags <- d.Tag
	}
	return delivery.Delivered
}

func (k *sink) Release(uint16) delivery.DeliverResult { return delivery.Delivered }

func (k *sink) Complete(uint16, bool) {}

func (k *sink) Answer(*delivery.Answer) { k.answers <- struct{}{} }
func (k *sink) Flush()                  {}
func (k *sink) Close(delivery.Reason)   {}

// acknowledge is what the carrier's reader does.
func (k *sink) acknowledge() {
	for tag := range k.tags {
		k.s.Ack(tag, false)
		k.got.Done()
	}
}

// openSink connects a device whose link costs nothing.
func (w *world) openSink(user, filter string, got *sync.WaitGroup) *sink {
	k := &sink{tags: make(chan uint16, 4096), answers: make(chan struct{}, 4096), got: got}
	id, err := w.e.Login(w.t.Context(), &hooks.Login{User: user, Client: "sink"})
	if err != nil {
		w.t.Fatal(err)
	}
	if k.s, _, err = w.e.Open(w.t.Context(), id, delivery.OpenOptions{Link: k}); err != nil {
		w.t.Fatal(err)
	}
	k.s.Start()
	if _, err := k.s.Subscribe(w.t.Context(), []delivery.Subscription{{Filter: filter, QoS: 1}}); err != nil {
		w.t.Fatal(err)
	}
	k.s.Feed()
	go k.acknowledge()
	w.t.Cleanup(func() {
		k.s.Close(w.t.Context(), delivery.CloseHow{})
		close(k.tags)
	})
	return k
}

// TestAllocationsOfADirectMessage bounds what the way of a direct message costs,
// from the turn over the commit to the receiver's acknowledgement and the receipt,
// with the durable store; and that of a publish on an open topic for a persistent
// session.
func TestAllocationsOfADirectMessage(t *testing.T) {
	t.Run("chat", func(t *testing.T) { allocationsOf(t, "u/bob", 1) })
	t.Run("open topic", func(t *testing.T) { allocationsOf(t, "open/bob", 2) }) // the queue is trimmed, too
}

func allocationsOf(t *testing.T, topic string, limit float64) {
	if raceEnabled {
		t.Log("the race detector allocates")
		return
	}
	store, err := pebble.Open(t.TempDir(), pebble.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	w := openWorld(t, func(c *delivery.Config) { c.Store = store }, "alice", "bob")
	const each = 64
	var got sync.WaitGroup
	alice := w.openSink("alice", "u/alice", &got)
	w.openSink("bob", topic, &got)
	turn := w.e.NewTurn()
	p := delivery.Publish{Topic: []byte(topic), Payload: fmt.Appendf(nil, "%200d", 1), QoS: 1}
	round := func() {
		got.Add(each)
		for i := range each {
			p.PacketID = uint16(i + 1)
			turn.Publish(alice.s, &p)
		}
		turn.Commit()
		for range each {
			<-alice.answers
		}
		got.Wait()
	}
	for range 50 {
		round()
	}
	n := testing.AllocsPerRun(200, round) / each
	t.Logf("%.2f allocations per message", n)
	if n > limit {
		t.Errorf("%.2f allocations per message, at most %.0f are allowed", n, limit)
	}
}
