package delivery_test

import (
	"strings"
	"testing"
	"time"
)

// Nobody sees the body of a message whose ttl has ended, also where the sweep has not
// come by yet.
func TestExpiredIsHiddenBeforeTheSweep(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, "alice", "bob")
		alice := w.online("alice", "phone")
		alice.send("u/bob", `{"body":"short","ttl":2}`)
		look := func() (history, last string, unread int) {
			t.Helper()
			page, err := w.e.History(t.Context(), w.actor("bob"), "u/alice", 0, 0, 0)
			if err != nil || len(page.Messages) != 1 {
				t.Fatalf("%+v %v", page, err)
			}
			list, err := w.e.ListChats(t.Context(), w.actor("bob"), 0, 0)
			if err != nil || len(list) != 1 {
				t.Fatalf("%+v %v", list, err)
			}
			return string(page.Messages[0]), string(list[0].Last), list[0].Unread
		}
		if history, last, unread := look(); !strings.Contains(history, "short") || !strings.Contains(last, "short") || unread != 1 {
			t.Errorf("before: %s, %s, %d unread", history, last, unread)
		}
		time.Sleep(3 * time.Second)
		history, last, unread := look()
		for _, envelope := range []string{history, last} {
			if strings.Contains(envelope, "short") || !strings.Contains(envelope, `"stub":true`) {
				t.Errorf("after: %s", envelope)
			}
		}
		if unread != 0 {
			t.Errorf("after: %d unread", unread)
		}
	})
}
