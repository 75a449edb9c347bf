package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"tidings/delivery"
	"tidings/storage"
)

// text is a QoS 1 publish of a text.
func text(topic, body string, pid uint16) delivery.Publish {
	return delivery.Publish{Topic: []byte(topic), Payload: []byte(body), QoS: 1, PacketID: pid}
}

// again is the same publish sent again.
func again(p delivery.Publish) delivery.Publish {
	p.Dup = true
	return p
}

// exactly is a publish at QoS 2.
func exactly(p delivery.Publish) delivery.Publish {
	p.QoS = 2
	return p
}

// ask publishes without waiting for the answer, which may never come.
func (d *device) ask(ps ...delivery.Publish) {
	t := d.w.e.NewTurn()
	for i := range ps {
		t.Publish(d.s, &ps[i])
	}
	t.Commit()
}

// stored publishes and wants it stored, or answered as if it were, at seq.
func (d *device) stored(p delivery.Publish, seq uint64) {
	d.w.t.Helper()
	if a := d.publish(p); a.code != "" || a.seq != seq {
		d.w.t.Errorf("%s: publish of %q (packet %d, dup %v): %q at %d, want it at %d",
			d.name, p.Payload, p.PacketID, p.Dup, a.code, a.seq, seq)
	}
}

func TestRepeatAfterACutLinkIsTheSameMessage(t *testing.T) {
	for _, opts := range [][]option{nil, {temporary, clean}} {
		t.Run(fmt.Sprintf("options=%d", len(opts)), func(t *testing.T) {
			w := newWorld(t, "alice", "bob")
			alice := w.online("alice", "phone", opts...)
			alice.stored(text("u/bob", "ok", 5), 1)
			alice.stored(text("u/bob", "ok", 6), 2) // the same words meant again
			alice.close(false)
			alice = w.online("alice", "phone", opts...)
			alice.stored(again(text("u/bob", "ok", 5)), 1)
			alice.stored(again(text("u/bob", "ok", 6)), 2)
			alice.stored(again(text("u/bob", "no", 6)), 3) // another content
			alice.stored(text("u/bob", "ok", 5), 4)        // DUP=0 is new, and settles
			alice.stored(again(text("u/bob", "ok", 5)), 5)
			alice.close(false)
			w.restart()
			alice = w.online("alice", "phone", opts...)
			alice.stored(again(text("u/bob", "no", 6)), 3) // over a restart, two connections later
		})
	}
}

func TestRepeatOnAnotherChatOrDeviceIsNew(t *testing.T) {
	w := newWorld(t, "alice", "bob", "carol")
	alice := w.online("alice", "phone")
	alice.stored(text("u/bob", "ok", 5), 1)
	alice.close(false)
	w.online("alice", "laptop").stored(again(text("u/bob", "ok", 5)), 2)
	w.online("alice", "phone").stored(again(text("u/carol", "ok", 5)), 1)
}

func TestDisconnectSettles(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	alice := w.online("alice", "phone")
	alice.stored(text("u/bob", "ok", 5), 1)
	alice.close(true)
	w.online("alice", "phone").stored(again(text("u/bob", "ok", 5)), 2)
}

func TestTenSecondsOfALivingConnectionSettle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorldWith(t, delivery.Config{CursorFlush: time.Minute}, "alice", "bob")
		alice := w.online("alice", "phone")
		alice.stored(text("u/bob", "old", 5), 1)
		time.Sleep(9 * time.Second)
		alice.stored(text("u/bob", "young", 6), 2)
		time.Sleep(2 * time.Second)
		alice.close(false) // which tells that something came just now
		alice = w.online("alice", "phone")
		alice.stored(again(text("u/bob", "young", 6)), 2)
		alice.stored(again(text("u/bob", "old", 5)), 3)
		alice.close(false)
		time.Sleep(25 * time.Hour)
		w.online("alice", "phone").stored(again(text("u/bob", "young", 6)), 4) // rows last a day
	})
}

func TestRepeatAfterACrashIsFoundInTheLog(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	alice, bob := w.online("alice", "phone"), w.online("bob", "phone")
	alice.stored(text("u/bob", "ok", 5), 1)
	for i := range 300 {
		bob.stored(text("u/alice", fmt.Sprint(i), 1), uint64(i+2))
	}
	alice.stored(exactly(text("u/bob", "twice", 7)), 302)
	w.crash()
	w.online("alice", "phone").close(false) // the client could not send again
	alice = w.online("alice", "phone")
	alice.stored(again(text("u/bob", "ok", 5)), 1)
	alice.stored(exactly(again(text("u/bob", "twice", 7))), 302)
	alice.stored(again(text("u/bob", "other", 5)), 303)
}

// A connection that has ended for an unknown outcome sends again, and only the
// log knows whether it was stored.
func TestRepeatAfterAnUnknownOutcomeIsFoundInTheLog(t *testing.T) {
	for _, stored := range []bool{true, false} {
		t.Run(fmt.Sprintf("stored=%v", stored), func(t *testing.T) {
			w := newWorld(t, "alice", "bob")
			alice := w.online("alice", "phone")
			alice.stored(text("u/bob", "first", 4), 1)
			fail := func() error { return errors.New("connection reset") }
			if stored {
				w.gate.behind("Append", fail)
			} else {
				w.gate.on("Append", fail)
			}
			alice.ask(text("u/bob", "ok", 5))
			alice.wait("the end of the connection", func() bool { return alice.closed == delivery.ReasonUnknownOutcome })
			w.gate.on("Append", nil)
			w.gate.behind("Append", nil)
			alice.close(false)
			if n := len(alice.answers); n != 1 {
				t.Errorf("%d answers, want the first alone: %+v", n, alice.answers)
			}
			alice = w.online("alice", "phone")
			alice.stored(again(text("u/bob", "ok", 5)), 2)
			alice.stored(again(text("u/bob", "first", 4)), 1)
			alice.stored(text("u/bob", "end", 6), 3)
		})
	}
}

// A store that does not answer for longer than Close waits leaves the outcome
// open in the same way.
func TestRepeatAfterAnAnswerThatCameTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "alice", "bob")
		alice := w.online("alice", "phone")
		release := make(chan struct{})
		w.gate.behind("Append", func() error { <-release; return nil })
		alice.ask(text("u/bob", "ok", 5))
		go alice.close(false)
		time.Sleep(10 * time.Second)
		w.gate.behind("Append", nil)
		close(release)
		alice = w.online("alice", "phone")
		alice.stored(again(text("u/bob", "ok", 5)), 1)
	})
}

func TestQoS2IsHeldUntilReleased(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	alice, bob := w.online("alice", "phone"), w.online("bob", "phone")
	p := exactly(text("u/bob", "once", 5))
	alice.stored(p, 1)
	alice.stored(again(p), 1)
	alice.stored(p, 1) // [MQTT-4.3.3-10] knows no DUP
	alice.close(false)
	alice = w.online("alice", "phone")
	alice.stored(again(p), 1)
	if !alice.free(5) {
		t.Error("the identifier of a held publish is unknown")
	}
	if alice.free(5) {
		t.Error("an identifier was released twice")
	}
	alice.stored(p, 2)
	alice.free(5)
	alice.close(true)
	w.restart()
	w.online("alice", "phone").stored(p, 3)
	if got := bob.texts("u/alice", 2); !slices.Equal(got, []string{"once", "once"}) {
		t.Errorf("bob got %q", got)
	}
}

func TestQoS2RefusedIsNotHeld(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	alice := w.online("alice", "phone")
	if a := alice.publish(exactly(text("u/nobody", "hi", 5))); a.code != delivery.CodeNotAllowed {
		t.Errorf("answered %+v", a)
	}
	alice.stored(exactly(text("u/bob", "hi", 5)), 1)
}

func TestCIDMakesSendingIdempotent(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	alice, laptop, bob := w.online("alice", "phone"), w.online("alice", "laptop"), w.online("bob", "phone")
	draft := func(cid, body string, pid uint16) delivery.Publish {
		return text("u/bob", `{"cid":"`+cid+`","body":"`+body+`"}`, pid)
	}
	alice.stored(draft("a", "1", 1), 1)
	alice.stored(draft("b", "2", 2), 2)
	alice.stored(draft("a", "1", 3), 1)
	laptop.stored(draft("a", "1", 1), 1)
	if a := laptop.publish(draft("b", "other", 2)); a.code != delivery.CodeConflict {
		t.Errorf("a cid of another content: %+v", a)
	}
	bob.stored(text("u/alice", `{"cid":"a","body":"bob's"}`, 1), 3) // cids are each sender's own
	if got := bob.texts("u/alice", 2); !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("bob got %q", got)
	}
	alice.close(true)
	w.crash()
	w.online("alice", "phone").stored(draft("b", "2", 9), 2)
}

// What is sent again was allowed once: a refusal would say that it is not stored.
func TestRepeatIsAnsweredAlsoToWhoMayNotWriteAnyMore(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	alice := w.online("alice", "phone")
	alice.stored(text("u/bob", "ok", 5), 1)
	alice.close(false)
	if err := w.e.SetBlock(t.Context(), w.actor("bob"), "alice", true); err != nil {
		t.Fatal(err)
	}
	alice = w.online("alice", "phone")
	alice.stored(again(text("u/bob", "ok", 5)), 1)
	if a := alice.publish(again(text("u/bob", "more", 5))); a.code != delivery.CodeNotAllowed {
		t.Errorf("a new text: %+v", a)
	}
}

// While the log cannot be read nobody knows whether a repeated publish is stored.
func TestRepeatIsNotRefusedWhileTheLogCannotBeRead(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	alice := w.online("alice", "phone")
	alice.stored(text("u/bob", "ok", 5), 1)
	alice.close(false)
	alice = w.online("alice", "phone")
	w.gate.on("Read", func() error { return context.DeadlineExceeded })
	alice.ask(again(text("u/bob", "ok", 5)), text("u/bob", "behind", 6))
	alice.wait("the end of the connection", func() bool { return alice.closed == delivery.ReasonUnknownOutcome })
	w.gate.on("Read", nil)
	alice.close(false)
	if len(alice.answers) != 0 {
		t.Errorf("answered %+v", alice.answers)
	}
	alice = w.online("alice", "phone")
	alice.stored(again(text("u/bob", "ok", 5)), 1)
	alice.stored(again(text("u/bob", "behind", 6)), 2)
}

// Of a repetition no refusal can say that it is not stored.
func TestRepeatIsNotRefusedByAFullDisk(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	alice := w.online("alice", "phone")
	w.gate.on("Append", func() error { return storage.ErrFull })
	if a := alice.publish(text("u/bob", "new", 4)); a.code != delivery.CodeStorageFull {
		t.Errorf("a new text: %+v", a)
	}
	alice.ask(again(text("u/bob", "ok", 5)))
	alice.wait("the end of the connection", func() bool { return alice.closed == delivery.ReasonUnknownOutcome })
	if len(alice.answers) != 1 {
		t.Errorf("answered %+v", alice.answers)
	}
}
