package delivery_test

import (
	"testing"

	"tidings/delivery"
	"tidings/storage"
)

// A refusal says that a message is not stored. So a resend of one that is stored
// gets its answer although it would be refused today.
func TestResendWithACIDIsAnsweredWhereANewMessageIsRefused(t *testing.T) {
	draft := func(cid string) delivery.Publish {
		return text("u/bob", `{"cid":"`+cid+`","body":"hi"}`, 7)
	}
	t.Run("blocked", func(t *testing.T) {
		w := newWorld(t, "alice", "bob")
		alice := w.online("alice", "phone")
		alice.stored(draft("a"), 1)
		if err := w.e.SetBlock(t.Context(), w.actor("bob"), "alice", true); err != nil {
			t.Fatal(err)
		}
		alice.stored(draft("a"), 1)
		if a := alice.publish(draft("b")); a.code != delivery.CodeNotAllowed {
			t.Errorf("a new message of somebody blocked: %+v", a)
		}
		if a := alice.publish(text("u/bob", `{"cid":"a","body":"other"}`, 7)); a.code != delivery.CodeConflict {
			t.Errorf("another message with the cid: %+v", a)
		}
	})
	t.Run("full", func(t *testing.T) {
		w := newWorld(t, "alice", "bob")
		alice := w.online("alice", "phone")
		alice.stored(draft("a"), 1)
		full := true // the store takes probes, and nothing else
		w.gate.on("Append", func() error {
			if full = !full; !full {
				return storage.ErrFull
			}
			return nil
		})
		alice.stored(draft("a"), 1)
		if a := alice.publish(draft("b")); a.code != delivery.CodeStorageFull {
			t.Errorf("a new message on a full store: %+v", a)
		}
	})
}
