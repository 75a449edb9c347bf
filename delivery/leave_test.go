package delivery_test

import "testing"

// A client that has sent DISCONNECT while an answer was still to come cannot know
// it: the publish is not settled.
func TestDisconnectInFrontOfTheAnswerDoesNotSettle(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	alice := w.online("alice", "phone")
	alice.stored(text("u/bob", "known", 4), 1)
	release := make(chan struct{})
	w.gate.behind("Append", func() error { <-release; return nil })
	alice.ask(text("u/bob", "unknown", 5))
	alice.s.Leave()
	w.gate.behind("Append", nil)
	close(release)
	alice.close(true)
	alice = w.online("alice", "phone")
	alice.stored(again(text("u/bob", "unknown", 5)), 2)
	alice.stored(again(text("u/bob", "known", 4)), 3)
}
