package delivery_test

import (
	"fmt"
	"slices"
	"testing"

	"tidings/delivery"
)

func TestDirectMessageReachesTheOtherAndOwnDevices(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	phone, laptop, bob := w.online("alice", "phone"), w.online("alice", "laptop"), w.online("bob", "phone")
	a := phone.send("u/bob", "hi")
	if got := bob.texts("u/alice", 1); got[0] != "hi" {
		t.Errorf("bob got %q", got)
	}
	if got := laptop.texts("u/bob", 1); got[0] != "hi" {
		t.Errorf("alice's laptop got %q", got)
	}
	env := bob.messages()[0]
	if env.Seq != a.seq || env.ID != a.id || env.From != "alice" || env.Device != "phone" {
		t.Errorf("bob's envelope %+v does not fit the answer %+v", env, a)
	}
	bob.send("u/alice", "ho") // behind which the phone would see its own message, if it came
	phone.texts("u/bob", 1)
	if got := phone.texts("u/bob", 1); !slices.Equal(got, []string{"ho"}) {
		t.Errorf("the sending device got %q", got)
	}
}

func TestInboxWaitsForTheDevice(t *testing.T) {
	const n = 500
	w := newWorld(t, "alice", "bob")
	w.online("bob", "phone").close(true)
	alice := w.online("alice", "phone")
	want := make([]string, n)
	for i := range n {
		want[i] = fmt.Sprint(i)
		alice.send("u/bob", want[i])
	}
	alice.close(true)
	w.restart()
	bob := w.online("bob", "phone")
	if got := bob.texts("u/alice", n); !slices.Equal(got, want) {
		t.Errorf("bob got %d messages, not in order: %.80q …", len(got), got)
	}
	bob.acks.Wait()
	bob.close(true)
	w.restart()
	again := w.online("bob", "phone")
	again.settle()
	if got := again.messages(); len(got) != 0 {
		t.Errorf("what was acknowledged came again: %d messages", len(got))
	}
	// A new device gets what no device had: nothing. The first device of a new
	// user gets all.
	second := w.online("bob", "tablet")
	second.settle()
	if got := second.messages(); len(got) != 0 {
		t.Errorf("bob's second device got %d old messages", len(got))
	}
}

func TestFirstDeviceGetsWhatWasSentBefore(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	alice := w.online("alice", "phone")
	alice.send("u/bob", "early")
	if got := w.online("bob", "phone").texts("u/alice", 1); got[0] != "early" {
		t.Errorf("bob got %q", got)
	}
}

func TestRefusals(t *testing.T) {
	w := newWorld(t, "alice", "bob", "carol")
	alice := w.online("alice", "phone")
	if err := w.e.SetBlock(t.Context(), w.actor("carol"), "alice", true); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, topic, payload, code string
	}{
		{"unknown user", "u/nobody", "hi", delivery.CodeNotAllowed},
		{"unknown group", "g/nobody", "hi", delivery.CodeNotAllowed},
		{"blocked", "u/carol", "hi", delivery.CodeNotAllowed},
		{"unknown topic", "x/y", "hi", delivery.CodeUnknownTopic},
		{"server's topic", "u/alice/receipts", "hi", delivery.CodeNotAllowed},
		{"empty", "u/bob", "", delivery.CodeMalformed},
		{"no UTF-8", "u/bob", "\xff\xfe", delivery.CodeMalformed},
		{"broken draft", "u/bob", `{"body":1,}`, delivery.CodeMalformed},
		{"large", "u/bob", string(make([]byte, 256<<10+1)), delivery.CodeTooLarge},
		{"first use of a cid", "u/bob", `{"cid":"c","body":1}`, ""},
		{"conflict", "u/bob", `{"cid":"c","body":2}`, delivery.CodeConflict},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			payload := []byte(tt.payload)
			if tt.name == "large" {
				for i := range payload {
					payload[i] = 'a'
				}
			}
			a := alice.publish(delivery.Publish{Topic: []byte(tt.topic), Payload: payload, QoS: 1, PacketID: 7})
			if a.code != tt.code {
				t.Errorf("answered %q, want %q", a.code, tt.code)
			}
		})
	}
}
