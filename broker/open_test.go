package broker_test

import (
	"bytes"
	"errors"
	"testing"

	"tidings/internal/mqttest"
)

// Shows MQTT5-4.8.2-1, MQTT5-4.8.2-2.
func TestFiltersOfOpenTopicsAreJudged(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		c := serveOpen(t, m, "alice").dial("alice", "phone")
		for _, k := range []struct {
			filter string
			want   byte
		}{
			{"open/#", 2},
			{"open/+/x", 2},
			{"u/alice", 1},
			{"#", 2},
			{"other/#", 0x8f},
			{"$share/name/open/#", 2},
			{"$share//open/#", 0x8f},
			{"$share/a+b/open/#", 0x8f},
			{"$share/a#/open/#", 0x8f},
			{"$share/name", 0x8f},
			{"$share/name/", 0x8f},
			{"$share/", 0x8f},
			{"$share/name/u/alice", 0x9e},
		} {
			want := k.want
			if m.version == mqttest.V311 && want > 2 {
				want = 0x80
			}
			g, err := c.SubscribeWith(t.Context(), nil, mqttest.Subscription{Filter: k.filter, Options: 2})
			if err != nil || g.Codes[0] != want {
				t.Errorf("%s: %v %v, want %#x", k.filter, g, err, want)
			}
		}
	})
}

func TestOpenTopicsBesideChats(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		s := serveOpen(t, m, "alice", "bob")
		alice := s.dial("alice", "phone")
		if g, err := alice.SubscribeWith(t.Context(), nil, mqttest.Subscription{Filter: "#", Options: 2}); err != nil || g.Codes[0] != 2 {
			t.Fatal(g, err)
		}
		bob := s.dial("bob", "phone", func(o *mqttest.Options) {
			o.Will = &mqttest.Will{Topic: "open/gone", Payload: []byte("will"), QoS: 2}
		})
		publish := func(topic, payload string, qos byte) byte {
			a, err := bob.PublishWait(t.Context(), &mqttest.Publish{Topic: topic, Payload: []byte(payload), QoS: qos})
			if err != nil {
				t.Fatal(topic, err)
			}
			return a.Code
		}
		publish("u/alice", "a chat, which # does not see", 1)
		for qos := byte(1); qos <= 2; qos++ {
			payload := []byte{'{', 0xff, qos}
			publish("open/x", string(payload), qos)
			if got, err := alice.Next(t.Context()); err != nil || string(got.Topic) != "open/x" || !bytes.Equal(got.Payload, payload) || got.QoS != qos {
				t.Errorf("got %+v %v", got, err)
			}
		}
		if code := publish("open/private/x", "x", 1); m.version == mqttest.V5 && code != 0x87 {
			t.Errorf("against the rules: %#x", code)
		}
		bob.Drop()
		if got, err := alice.Next(t.Context()); err != nil || string(got.Topic) != "open/gone" || string(got.Payload) != "will" || got.QoS != 2 {
			t.Errorf("got %+v %v", got, err)
		}
		_, err := s.tryDial("bob", "phone", func(o *mqttest.Options) { o.Will = &mqttest.Will{Topic: "closed/gone"} })
		want := map[byte]byte{mqttest.V311: 5, mqttest.V5: 0x90}[m.version]
		if r, ok := errors.AsType[*mqttest.Refused](err); !ok || r.ConnAck.Code != want {
			t.Errorf("will on a topic that is not open: %v", err)
		}
	})
}
