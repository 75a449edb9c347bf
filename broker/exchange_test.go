package broker_test

import (
	"fmt"
	"testing"

	"tidings/broker"
	"tidings/internal/mqttest"
)

func TestMessageReachesSubscriberAndIsAcked(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		s := serve(t, m, broker.Config{}, newFakeEngine(), nil)
		bob := s.dial("bob", "phone")
		if g, err := bob.Subscribe(t.Context(), "u/bob/#", "g/+/#"); err != nil || len(g.Codes) != 2 || g.Codes[0] != 1 {
			t.Fatalf("subscribe: %v %v", g, err)
		}
		alice := s.dial("alice", "laptop")
		for i := range 3 {
			for _, qos := range []byte{0, 1, 2} {
				want := fmt.Sprintf("hi %d %d", i, qos)
				p := &mqttest.Publish{Topic: "u/bob", Payload: []byte(want), QoS: qos}
				if qos == 0 {
					if err := alice.Publish(p); err != nil {
						t.Fatal(err)
					}
				} else if a, err := alice.PublishWait(t.Context(), p); err != nil || a.Code != 0 {
					t.Fatalf("publish: %v %v", a, err)
				}
				got, err := bob.Next(t.Context())
				if err != nil || string(got.Payload) != want || string(got.Topic) != "u/bob" || got.QoS != 1 {
					t.Fatalf("got %+v %v, want %q", got, err, want)
				}
			}
		}
		if err := alice.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
		if g, err := bob.Unsubscribe(t.Context(), "u/bob/#", "u/bob/x"); err != nil || m.version == mqttest.V5 && (g.Codes[0] != 0 || g.Codes[1] != 0x11) {
			t.Fatalf("unsubscribe: %v %v", g, err)
		}
		alice.Disconnect()
		if !waitFor(func() bool { return s.engine.session("alice/laptop") == nil }) {
			t.Fatal("session not closed")
		}
		s.engine.mu.Lock()
		defer s.engine.mu.Unlock()
		if how := s.engine.closed[0]; !how.Orderly || how.Reason != "client" {
			t.Errorf("closed %+v", how)
		}
	})
}
