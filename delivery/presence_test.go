package delivery_test

import (
	"testing"

	"tidings/chat"
)

// TestPresenceOfOvertakenEnd tells the end of a user's last session when he has
// begun another one already.
func TestPresenceOfOvertakenEnd(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	w.online("alice", "phone")
	w.e.LeftLate(w.ids["alice"])
	p, err := w.e.GetUser(t.Context(), w.ids["bob"], "alice")
	if err != nil || p.Presence != chat.PresenceOnline {
		t.Errorf("alice is %q, %v; want online", p.Presence, err)
	}
}
