package broker_test

import (
	"bytes"
	"fmt"
	"testing"

	"tidings/broker"
	"tidings/internal/mqttest"
)

// FuzzInput feeds random bytes to a new connection, whole and in pieces: whatever
// they are, nothing panics and the split makes no difference.
func FuzzInput(f *testing.F) {
	for _, version := range []byte{mqttest.V311, mqttest.V5} {
		o := mqttest.Options{Version: version, ClientID: "c", User: "alice", Password: "alice", Clean: true, KeepAlive: 60}
		if version == mqttest.V5 {
			o.Will = willWith(5)
			o.Props = (&mqttest.Properties{}).AddUser("accept", "application/cbor")
			o.SessionExpiry = 7
		}
		b := mqttest.AppendConnect(nil, &o)
		b = mqttest.AppendSubscribe(b, version, 1, nil, []mqttest.Subscription{{Filter: "u/alice/#", Options: 1}, {Filter: "#"}})
		for qos := range byte(3) {
			p := &mqttest.Publish{Topic: "u/bob", Payload: []byte("hello"), QoS: qos, ID: uint16(qos)}
			if version == mqttest.V5 {
				p.Props = (&mqttest.Properties{}).SetNumber(mqttest.PropTopicAlias, 1).SetString(mqttest.PropContentType, "text/plain")
			}
			b = mqttest.AppendPublish(b, version, p)
		}
		b = mqttest.AppendPublish(b, version, &mqttest.Publish{Topic: "rpc/group.get", Payload: []byte(`{"rid":"1"}`), QoS: 1, ID: 3})
		b = mqttest.AppendPublish(b, version, &mqttest.Publish{Topic: "u/bob", Payload: make([]byte, 2000), QoS: 1, ID: 4})
		b = mqttest.AppendAck(b, version, mqttest.PUBREL, 2, 0)
		b = mqttest.AppendAck(b, version, mqttest.PUBACK, 9, 0)
		b = append(b, mqttest.PINGREQ<<4, 0)
		b = mqttest.AppendUnsubscribe(b, version, 2, []string{"u/alice/#"})
		f.Add(b, uint16(3))
		f.Add(mqttest.AppendDisconnect(b, version, 0, nil), uint16(1))
		for i, p := range badPackets {
			if p.version == anyVersion || p.version == version {
				f.Add(append(bytes.Clone(b), unhexRaw(p.send)...), uint16(i))
			}
		}
	}
	for i, p := range badConnects {
		f.Add(unhexRaw(p.send), uint16(i))
	}
	f.Fuzz(func(t *testing.T, data []byte, seed uint16) {
		// Answers come at once: when they come otherwise depends on the engine's time.
		eager := func() *fakeEngine {
			e := newFakeEngine()
			e.eager = true
			return e
		}
		whole := broker.FeedForTest(t, eager(), [][]byte{data})
		for _, step := range []int{1, int(seed%97) + 2} {
			var pieces [][]byte
			for p := data; len(p) > 0; {
				n := min(step, len(p))
				pieces = append(pieces, bytes.Clone(p[:n]))
				p = p[n:]
			}
			if got := broker.FeedForTest(t, eager(), pieces); got != whole {
				t.Fatalf("in pieces of %d:\n%s\nwhole:\n%s", step, got, whole)
			}
		}
	})
}

func unhexRaw(s string) []byte {
	var b []byte
	var hi, n int
	for _, r := range s {
		var v int
		if _, err := fmt.Sscanf(string(r), "%x", &v); err != nil {
			continue
		}
		if n++; n%2 == 0 {
			b = append(b, byte(hi<<4|v))
		}
		hi = v
	}
	return b
}
