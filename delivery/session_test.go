package delivery_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"tidings/chat"
	"tidings/delivery"
	"tidings/hooks"
	"tidings/storage"
)

// fill sends n numbered texts to bob.
func (d *device) fill(n int) {
	d.w.t.Helper()
	for i := range n {
		d.send("u/bob", fmt.Sprint(i))
	}
}

// A persistent session gets what is outstanding again, with the same tags and
// DUP, in order, in front of anything new [MQTT-4.4.0-1].
func TestResumeSendsTheWindowAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, "alice", "bob")
		alice, bob := w.online("alice", "phone"), w.online("bob", "phone", holding)
		alice.fill(5)
		rest()
		first := bob.deliveries(5)
		bob.s.Ack(first[0].tag, false)
		bob.s.Ack(first[2].tag, false)
		bob.close(false)
		alice.fill(2)
		w.restart()
		w.online("alice", "laptop")
		bob = w.connect("bob", "phone", holding, receiving(2))
		if !bob.info.Present {
			t.Fatal("the session was not taken up again")
		}
		rest()
		if got := bob.seqs(); !slices.Equal(got, []uint64{2, 4}) {
			t.Fatalf("in the first window: %v", got)
		}
		if bob.s.Ack(first[4].tag, false) {
			t.Error("took an ack of what this connection has not sent")
		}
		bob.release(false)
		rest()
		if got := bob.seqs(); !slices.Equal(got, []uint64{2, 4, 5, 6, 7}) {
			t.Fatalf("got %v", got)
		}
		for i, g := range bob.deliveries(5) {
			if again := i < 3; g.dup != again {
				t.Errorf("entry %d has DUP %v", bob.seqs()[i], g.dup)
			} else if again && g.tag != first[bob.seqs()[i]-1].tag {
				t.Errorf("entry %d came with tag %d, before with %d", bob.seqs()[i], g.tag, first[bob.seqs()[i]-1].tag)
			}
		}
		if c := w.cursor("bob", "phone", "alice"); c != 7 {
			t.Errorf("cursor %d", c)
		}
	})
}

func TestCleanStartBeginsANewWindowAndLosesNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, "alice", "bob")
		alice, bob := w.online("alice", "phone"), w.online("bob", "phone", holding)
		alice.fill(3)
		rest()
		bob.s.Ack(bob.tags()[0], false)
		bob.close(false)
		bob = w.connect("bob", "phone", clean)
		if bob.info.Present || len(bob.s.Subscriptions()) != 0 {
			t.Errorf("a clean start found %+v", bob.info)
		}
		bob.subscribe(1, "u/bob/#")
		rest()
		if got := bob.seqs(); !slices.Equal(got, to(2, 3)) {
			t.Fatalf("got %v", got)
		}
		for _, g := range bob.deliveries(2) {
			if g.dup {
				t.Errorf("delivered with DUP: %+v", g)
			}
		}
	})
}

// What a clean start has ended stays ended, also if the server dies at once.
func TestCleanStartIsRememberedOverACrash(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	w.online("bob", "phone").close(true)
	w.connect("bob", "phone", clean, temporary)
	w.crash()
	if bob := w.connect("bob", "phone"); bob.info.Present {
		t.Error("the session of before the clean start was taken up again")
	}
}

func TestTemporarySessionsEndWithTheirConnection(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	alice := w.online("alice", "phone")
	w.online("bob", "phone", temporary).close(false)
	alice.fill(2)
	bob := w.connect("bob", "phone", temporary)
	if bob.info.Present {
		t.Error("a temporary session was taken up again")
	}
	bob.subscribe(1, "u/bob/#")
	if got := bob.texts("u/alice", 2); len(got) != 2 {
		t.Errorf("got %v", got)
	}
}

func TestSessionExpiry(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorldWith(t, delivery.Config{CursorFlush: time.Minute}, "bob")
		end := func(d *device, how delivery.CloseHow) {
			d.s.Close(t.Context(), how)
			d.closed = delivery.ReasonAdmin
		}
		end(w.online("bob", "phone"), delivery.CloseHow{KeepFor: time.Hour})
		time.Sleep(30 * time.Minute)
		bob := w.connect("bob", "phone")
		if !bob.info.Present {
			t.Error("expired too early")
		}
		end(bob, delivery.CloseHow{KeepFor: time.Hour})
		time.Sleep(2 * time.Hour)
		if bob = w.online("bob", "phone"); bob.info.Present {
			t.Error("did not expire")
		}
		end(bob, delivery.CloseHow{Forget: true})
		if bob = w.connect("bob", "phone"); bob.info.Present {
			t.Error("was not forgotten")
		}
	})
}

// At most what was not flushed comes again after a crash, marked as such, and
// under tags that the device has not seen lately.
func TestCrashSendsOnlyTheUnflushedAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, "alice", "bob")
		alice, bob := w.online("alice", "phone"), w.online("bob", "phone", holding)
		alice.fill(6)
		rest()
		before := bob.tags()
		bob.s.Ack(before[0], false)
		bob.s.Ack(before[1], false)
		rest() // stored
		w.gate.on("Advance", func() error { return context.DeadlineExceeded })
		bob.s.Ack(before[2], false)
		rest() // not stored
		w.crash()
		alice = w.online("alice", "laptop")
		alice.fill(1)
		bob = w.connect("bob", "phone")
		rest()
		if got := bob.seqs(); !slices.Equal(got, to(3, 7)) {
			t.Fatalf("got %v", got)
		}
		for i, g := range bob.deliveries(5) {
			if i < 4 && !g.dup {
				t.Errorf("entry %d may have come before, and has no DUP", i+3)
			}
			if slices.Contains(before, g.tag) {
				t.Errorf("tag %d is used again", g.tag)
			}
		}
		bob.close(true)
		bob = w.connect("bob", "phone")
		rest()
		if got := bob.seqs(); len(got) != 0 {
			t.Errorf("came after the acknowledgement: %v", got)
		}
	})
}

func TestTakeoverEndsTheOldLinkAndLosesNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, "alice", "bob")
		alice, old := w.online("alice", "phone"), w.online("bob", "phone", holding)
		alice.fill(4)
		rest()
		for _, tag := range old.tags()[:2] {
			old.s.Ack(tag, false)
		}
		bob := w.connect("bob", "phone")
		if old.closed != delivery.ReasonTakenOver {
			t.Errorf("the old link was closed for reason %d", old.closed)
		}
		alice.fill(1)
		rest()
		if got := bob.seqs(); !slices.Equal(got, to(3, 5)) {
			t.Errorf("got %v", got)
		}
		if old.s.Ack(old.tags()[2], false) {
			t.Error("the old connection could still acknowledge")
		}
		if users, sessions := w.e.Live(); users != 2 || sessions != 2 {
			t.Errorf("%d sessions of %d users are live", sessions, users)
		}
	})
}

// A connection that gives up while it waits for the older one to end leaves the
// device to that one.
func TestTakeoverThatGivesUpFeedsNobodyTwice(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, "alice", "bob")
		old := w.online("bob", "phone")
		old.deaf = true // the carrier is slow to end it
		id, err := w.e.Login(t.Context(), &hooks.Login{User: "bob", Client: "phone"})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, _, err := w.e.Open(ctx, id, delivery.OpenOptions{Link: old}); err == nil {
			t.Error("opened beside the older session")
		}
		if _, sessions := w.e.Live(); sessions != 1 {
			t.Errorf("%d sessions are live", sessions)
		}
		old.s.Close(t.Context(), delivery.CloseHow{})
		w.online("bob", "phone")
	})
}

// What was in the window when its filter was given up is still delivered: the
// server completes what it has begun [MQTT-3.10.4-3].
func TestWindowOutlivesItsSubscription(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, "alice", "bob")
		alice, bob := w.online("alice", "phone"), w.online("bob", "phone", holding)
		alice.fill(1)
		rest()
		if _, err := bob.s.Unsubscribe(t.Context(), []string{"u/bob/#"}); err != nil {
			t.Fatal(err)
		}
		alice.fill(1)
		bob.close(false)
		bob = w.connect("bob", "phone")
		rest()
		if got := bob.deliveries(1); len(got) != 1 || !got[0].dup || got[0].tag == 0 {
			t.Errorf("delivered %+v", got)
		}
		if c := w.cursor("bob", "phone", "alice"); c != 1 {
			t.Errorf("cursor %d", c)
		}
		bob.subscribe(1, "u/bob")
		rest()
		if got := bob.seqs(); !slices.Equal(got, to(1, 2)) {
			t.Errorf("got %v", got)
		}
	})
}

func TestWhatHasExpiredIsNotSentAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, "alice", "bob")
		alice, bob := w.online("alice", "phone"), w.online("bob", "phone", holding)
		alice.send("u/bob", `{"body":"short","ttl":5}`)
		alice.send("u/bob", `{"body":"long","ttl":100}`)
		rest()
		if got := bob.deliveries(2); got[0].expiry != 5 || got[1].expiry != 100 {
			t.Errorf("first delivered with %d and %d seconds left", got[0].expiry, got[1].expiry)
		}
		bob.close(false)
		time.Sleep(10 * time.Second)
		bob = w.connect("bob", "phone")
		rest()
		if got := bob.deliveries(1); len(got) != 1 || got[0].expiry > 90 || got[0].expiry < 80 || !got[0].dup {
			t.Errorf("delivered again: %+v", got)
		}
	})
}

func TestCarrierStateIsKept(t *testing.T) {
	w := newWorld(t, "bob")
	bob := w.online("bob", "phone")
	if err := bob.s.SaveCarrier(t.Context(), []byte(`{"will":1}`)); err != nil {
		t.Fatal(err)
	}
	w.crash()
	bob = w.connect("bob", "phone")
	if string(bob.info.Carrier) != `{"will":1}` || bob.info.Epoch != 2 {
		t.Errorf("found %+v", bob.info)
	}
	bob.close(true)
	if bob = w.connect("bob", "phone"); string(bob.info.Carrier) != `{"will":1}` {
		t.Errorf("after an orderly end: %+v", bob.info)
	}
}

// A state that does not decode costs the packet state and not the inbox.
func TestBrokenStateLosesNothing(t *testing.T) {
	for _, state := range []string{
		`{`, `{"v":99}`,
		`{"v":1,"e":1,"p":true,"s":[{"f":"u/bob/#","q":1}],"w":[{"c":{"Hi":1,"Lo":2},"s":0}]}`,
		`{"v":1,"e":1,"p":true,"s":[{"f":"u/bob/#","q":1}],"w":[{"c":{"Hi":1,"Lo":2},"s":3},{"c":{"Hi":1,"Lo":2},"s":2}]}`,
	} {
		t.Run(state[:min(len(state), 9)], func(t *testing.T) {
			w := newWorld(t, "alice", "bob")
			w.online("bob", "phone").close(true)
			d, err := w.store.DeviceByName(t.Context(), w.ids["bob"], "phone")
			if err != nil {
				t.Fatal(err)
			}
			st := storage.SessionState{Device: d.ID, Epoch: d.Epoch, State: []byte(state), Closed: true}
			if err := w.store.SaveSession(t.Context(), st); err != nil {
				t.Fatal(err)
			}
			w.online("alice", "phone").fill(3)
			bob := w.online("bob", "phone")
			bob.texts("u/alice", 3)
			if got := bob.seqs(); !slices.Equal(got, to(1, 3)) {
				t.Errorf("got %v", got)
			}
		})
	}
}

// A new device of a user whose only device is gone begins where that one was.
func TestNewDeviceBeginsBehindWhatAnyDeviceHad(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, "alice", "bob")
		alice, phone := w.online("alice", "phone"), w.online("bob", "phone")
		alice.fill(3)
		rest()
		if err := w.e.RevokeDevice(t.Context(), w.ids["bob"], "phone"); err != nil {
			t.Fatal(err)
		}
		rest()
		phone.close(false)
		alice.fill(2)
		tablet := w.online("bob", "tablet")
		rest()
		if got := slices.DeleteFunc(tablet.messages(), func(e chat.Envelope) bool { return e.Chat != "u/alice" }); len(got) != 2 || got[0].Seq != 4 {
			t.Errorf("the new device got %+v", got)
		}
	})
}
