package conformance_test

import (
	"bytes"
	"slices"
	"testing"

	"tidings/internal/mqttest"
)

// Shows MQTT3-2.3.1-7, MQTT3-3.8.4-1, MQTT3-3.8.4-2, MQTT3-3.8.4-4, MQTT3-3.8.4-5, MQTT3-3.9.3-1, MQTT3-3.9.3-2.
// Shows MQTT5-2.2.1-6, MQTT5-3.8.4-1, MQTT5-3.8.4-2, MQTT5-3.8.4-5, MQTT5-3.8.4-6, MQTT5-3.8.4-7, MQTT5-3.9.3-1, MQTT5-3.9.3-2.
func TestSuback(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		topic := unique()
		p := connect(t, version)
		subs := []mqttest.Subscription{
			{Filter: topic + "/0", Options: 0},
			{Filter: topic + "/2", Options: 2},
			{Filter: topic + "/#/x", Options: 1},
			{Filter: topic + "/1", Options: 1},
			{Filter: topic + "x+", Options: 1},
			{Filter: topic + "/2/+", Options: 2},
		}
		for _, id := range []uint16{1, 0xff, 0x100, 0xffff} {
			p.send(mqttest.AppendSubscribe(nil, version, id, nil, subs))
			want := []byte{0, 2, 0x80, 1, 0x80, 2}
			if version == v5 {
				want = []byte{0, 2, 0x8f, 1, 0x8f, 2}
			}
			if got := p.granted(mqttest.SUBACK, id); !bytes.Equal(got, want) {
				t.Errorf("codes %#02x, want %#02x", got, want)
			}
		}
		connect(t, version).say(topic+"/1", "to the one behind a refused one")
		p.take("to the one behind a refused one")
	})
}

// Shows MQTT3-3.8.4-6, MQTT5-3.8.4-8, MQTT5-4.3.1-1.
func TestQoSIsTheLowerOne(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		p := connect(t, version)
		for granted := range byte(3) {
			topic := unique()
			s := fresh(t, version, qos(granted), topic)
			for sent := range byte(3) {
				p.publish(mqttest.Publish{Topic: topic, Payload: []byte("x"), QoS: sent})
				if m := s.take("x"); m.QoS != min(granted, sent) {
					t.Errorf("sent at QoS %d, granted %d, came at %d", sent, granted, m.QoS)
				}
			}
		}
	})
}

// Shows MQTT3-3.3.5-1, MQTT5-3.3.4-2, MQTT5-3.3.4-3, MQTT5-3.3.4-4, MQTT5-3.3.4-5.
func TestOverlappingSubscriptions(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		topic := unique()
		s := connect(t, version)
		ids := []uint32{7, 268_435_455, 0}
		for i, f := range []string{topic + "/#", topic + "/+", topic + "/a"} {
			var props *mqttest.Properties
			if version == v5 && ids[i] > 0 {
				props = &mqttest.Properties{SubscriptionIDs: []uint32{ids[i]}}
			}
			if codes := s.suback([]byte{0, 2, 1}[i], props, f); codes[0] != []byte{0, 2, 1}[i] {
				t.Fatalf("%s: %#02x", f, codes)
			}
		}
		p := connect(t, version)
		p.publish(mqttest.Publish{Topic: topic + "/a", Payload: []byte("x"), QoS: 2})
		p.say(topic, "end") // on the first filter only
		highest := byte(0)
		var seen []uint32
		for {
			m := s.message()
			got := properties(t, m).SubscriptionIDs
			if string(m.Payload) == "end" {
				if version == v5 && !slices.Equal(got, ids[:1]) {
					t.Errorf("subscription identifiers of one subscription: %v", got)
				}
				break
			}
			s.settle(m)
			highest = max(highest, m.QoS)
			seen = append(seen, got...)
		}
		slices.Sort(seen)
		if highest != 2 || version == v5 && !slices.Equal(seen, ids[:2]) {
			t.Errorf("QoS %d, subscription identifiers %v", highest, seen)
		}
	})
}

// Shows MQTT5-3.8.4-3, MQTT5-3.3.4-3.
func TestSubscriptionIdentifierIsReplaced(t *testing.T) {
	t.Parallel()
	topic := unique()
	s, p := connect(t, v5), connect(t, v5)
	for _, ids := range [][]uint32{{5}, {6}, nil} {
		s.suback(qos(1), &mqttest.Properties{SubscriptionIDs: ids}, topic)
		p.say(topic, "x")
		if got := properties(t, s.take("x")).SubscriptionIDs; !slices.Equal(got, ids) {
			t.Errorf("subscription identifiers %v, want %v", got, ids)
		}
	}
}

// Shows MQTT5-3.8.3-3.
func TestNoLocal(t *testing.T) {
	t.Parallel()
	topic := unique()
	p := connect(t, v5, lasting)
	p.subscribe(qos(1)|noLocal, topic)
	p.say(topic, "own")
	p.publish(mqttest.Publish{Topic: topic, Payload: []byte("own"), QoS: 0})
	connectAndSay(t, v5, topic, "another's")
	p.take("another's")
	// The client identifier counts, not the connection.
	p.drop()
	p = p.again()
	p.say(topic, "own")
	connectAndSay(t, v5, topic, "another's")
	p.take("another's")
}

// Shows MQTT3-2.3.1-7, MQTT3-3.10.4-1, MQTT3-3.10.4-2, MQTT3-3.10.4-4, MQTT3-3.10.4-5, MQTT3-3.10.4-6.
// Shows MQTT5-2.2.1-6, MQTT5-3.10.4-1, MQTT5-3.10.4-2, MQTT5-3.10.4-4, MQTT5-3.10.4-5, MQTT5-3.10.4-6.
// Shows MQTT5-3.11.3-1, MQTT5-3.11.3-2.
func TestUnsubscribe(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		topic := unique()
		s, p := fresh(t, version, qos(1), topic+"/#", topic+"/+", topic+"/a", topic+"/b"), connect(t, version)
		check := func(filters []string, want ...byte) {
			t.Helper()
			if got := s.unsubscribe(filters...); version == v5 && !bytes.Equal(got, want) {
				t.Errorf("unsubscribe %q: codes %#02x, want %#02x", filters, got, want)
			}
		}
		// Only what is the same to the byte goes.
		check([]string{topic, topic + "/A", topic + "/a/", topic + "/c", "#"}, 0x11, 0x11, 0x11, 0x11, 0x11)
		check([]string{topic + "/#", topic + "/nothing", topic + "/+"}, 0, 0x11, 0)
		check([]string{topic + "/#"}, 0x11)
		p.say(topic+"/c", "on nothing any more")
		p.say(topic+"/a", "still there")
		s.take("still there")
		check([]string{topic + "/a", topic + "/a"}, 0, 0x11)
		p.say(topic+"/a", "gone")
		p.say(topic+"/b", "end")
		s.take("end")
	})
}

// Shows MQTT3-3.10.4-3, MQTT5-3.10.4-3.
func TestUnsubscribeCompletesDeliveries(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		topic := unique()
		s, p := connect(t, version, lasting), connect(t, version)
		s.subscribe(qos(2), topic)
		p.publish(mqttest.Publish{Topic: topic, Payload: []byte("one"), QoS: 1})
		p.publish(mqttest.Publish{Topic: topic, Payload: []byte("two"), QoS: 2})
		one, two := s.message(), s.message()
		s.unsubscribe(topic)
		p.say(topic, "too late")
		s.settle(one)
		s.settle(two)
		s.subscribe(qos(2), topic)
		p.publish(mqttest.Publish{Topic: topic, Payload: []byte("one"), QoS: 1})
		p.publish(mqttest.Publish{Topic: topic, Payload: []byte("two"), QoS: 2})
		one, two = s.message(), s.message()
		s.unsubscribe(topic)
		s.drop()
		s = s.again()
		for _, want := range []*mqttest.Message{one, two} {
			if got := s.message(); got.ID != want.ID || !got.Dup || !bytes.Equal(got.Payload, want.Payload) {
				t.Errorf("again: identifier %d, DUP %v, %s; want %d %s", got.ID, got.Dup, got.Payload, want.ID, want.Payload)
			} else {
				s.settle(got)
			}
		}
		s.sync()
	})
}

// Shows MQTT3-3.12.4-1, MQTT5-3.12.4-1.
func TestPing(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		p := connect(t, version)
		p.send(bytes.Repeat([]byte{0xc0, 0}, 10))
		for range 10 {
			if k := p.packet(mqttest.PINGRESP); k.First != 0xd0 || len(k.Body) > 0 {
				t.Errorf("PINGRESP %v", k)
			}
		}
	})
}
