package conformance_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"tidings/internal/mqttest"
)

// leaving connects a client with a will message to topic.
func leaving(t *testing.T, version byte, w mqttest.Will, change ...func(*mqttest.Options)) *peer {
	t.Helper()
	return connect(t, version, append(change, func(o *mqttest.Options) { o.Will = &w })...)
}

// Shows MQTT3-3.1.2-8, MQTT3-3.1.2-9, MQTT3-3.1.2-10, MQTT3-3.1.2-16, MQTT3-3.1.2-17, MQTT3-3.1.3-1.
// Shows MQTT5-3.1.2-7, MQTT5-3.1.2-8, MQTT5-3.1.2-10, MQTT5-3.1.2-14, MQTT5-3.1.2-15, MQTT5-3.1.3-1.
func TestWillIsPublished(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		for _, retain := range []bool{false, true} {
			for level := range byte(3) {
				topic := unique()
				watch := connect(t, version)
				watch.subscribe(qos(2), topic)
				p := leaving(t, version, mqttest.Will{Topic: topic, Payload: []byte("gone"), QoS: level, Retain: retain})
				p.drop()
				if m := watch.take("gone"); m.QoS != level || m.Retain || string(m.Topic) != topic {
					t.Errorf("QoS %d retain %v: got QoS %d, RETAIN %v on %s", level, retain, m.QoS, m.Retain, m.Topic)
				}
				late := connect(t, version)
				late.subscribe(qos(2), topic)
				if retain {
					if m := late.take("gone"); !m.Retain || m.QoS != level {
						t.Errorf("retained: QoS %d, RETAIN %v", m.QoS, m.Retain)
					}
				}
				connect(t, version).say(topic, "end")
				late.take("end")
				watch.take("end") // and the will only once
			}
		}
	})
}

// Shows MQTT3-3.1.2-10, MQTT3-3.1.2-12, MQTT3-3.14.4-3, MQTT5-3.1.2-8, MQTT5-3.1.2-10, MQTT5-3.14.4-3.
func TestNoWill(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		topic := unique()
		watch := connect(t, version)
		watch.subscribe(qos(1), topic)
		connect(t, version).drop() // has none
		leaving(t, version, mqttest.Will{Topic: topic, Payload: []byte("cancelled")}).disconnect()
		// What a client of the same identifier had before is forgotten.
		p := leaving(t, version, mqttest.Will{Topic: topic, Payload: []byte("cancelled")}, lasting)
		p.disconnect()
		p.again().drop()
		leaving(t, version, mqttest.Will{Topic: topic, Payload: []byte("end")}).drop()
		watch.take("end")
	})
}

// Shows MQTT3-3.1.2-8, MQTT5-3.1.2-8.
func TestWillWhenTheServerEndsTheConnection(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		topic := unique()
		watch := connect(t, version)
		watch.subscribe(qos(1), topic)
		leaving(t, version, mqttest.Will{Topic: topic, Payload: []byte("malformed")}).send([]byte{0x00, 0x00})
		watch.take("malformed")
		p := leaving(t, version, mqttest.Will{Topic: topic, Payload: []byte("taken over")}, lasting)
		p.again()
		watch.take("taken over")
		if version == v5 {
			leaving(t, version, mqttest.Will{Topic: topic, Payload: []byte("asked for")}).send(mqttest.AppendDisconnect(nil, v5, 4, nil))
			watch.take("asked for")
		}
	})
}

func delayed(topic, text string, seconds uint32) mqttest.Will {
	return mqttest.Will{Topic: topic, Payload: []byte(text), QoS: 1, Props: (&mqttest.Properties{}).SetNumber(mqttest.PropWillDelay, seconds)}
}

// Shows MQTT5-3.1.2-7, MQTT5-3.1.2-8, MQTT5-3.1.3-9.
func TestWillDelay(t *testing.T) {
	t.Parallel()
	topic := unique()
	watch := connect(t, v5)
	watch.subscribe(qos(1), topic)
	back := leaving(t, v5, delayed(topic, "has come back", 2), lasting)
	back.drop()
	back.again()
	// One session ends with its connection, one a second later: both before the will's delay.
	leaving(t, v5, delayed(topic, "session over", 600)).drop()
	watch.take("session over")
	leaving(t, v5, delayed(topic, "session over later", 600), func(o *mqttest.Options) { o.SessionExpiry = 1 }).drop()
	leaving(t, v5, delayed(topic, "delay over", 4), lasting).drop()
	watch.take("session over later")
	watch.take("delay over")
}

// Shows MQTT5-3.1.3-10, MQTT5-3.3.2-17, MQTT5-3.3.2-18.
func TestWillProperties(t *testing.T) {
	t.Parallel()
	topic := unique()
	watch := connect(t, v5)
	watch.subscribe(qos(1), topic)
	sent := (&mqttest.Properties{}).AddUser("b", "1").AddUser("a", "2").AddUser("b", "3").AddUser("", "")
	sent.SetString(mqttest.PropContentType, "text/x").SetString(mqttest.PropResponseTopic, "answers/here").SetString(mqttest.PropCorrelationData, "\x00\xff")
	sent.SetNumber(mqttest.PropPayloadFormat, 1).SetNumber(mqttest.PropWillDelay, 0)
	leaving(t, v5, mqttest.Will{Topic: topic, Payload: []byte("gone"), QoS: 1, Props: sent}).drop()
	got := properties(t, watch.take("gone"))
	delete(sent.Numbers, mqttest.PropWillDelay)
	if diff := cmp.Diff(sent, got); diff != "" {
		t.Errorf("properties (-sent +got):\n%s", diff)
	}
}
