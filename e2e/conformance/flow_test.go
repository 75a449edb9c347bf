package conformance_test

import (
	"fmt"
	"testing"

	"tidings/internal/mqttest"
)

// Shows MQTT5-3.3.4-9, MQTT5-3.3.4-10, MQTT5-4.9.0-1, MQTT5-4.9.0-2, MQTT5-4.9.0-3.
func TestReceiveMaximumOfTheClient(t *testing.T) {
	t.Parallel()
	for level := byte(1); level <= 2; level++ {
		for _, limit := range []int{1, 3} {
			topic := unique()
			s, p := connect(t, v5, with(mqttest.PropReceiveMaximum, uint32(limit))), connect(t, v5)
			s.subscribe(qos(level), topic)
			for range 2 {
				for i := range limit + 5 {
					p.publish(mqttest.Publish{Topic: topic, Payload: fmt.Append(nil, i), QoS: level})
				}
				s.fillQuota(level, limit, topic)
				for i := limit; i < limit+5; i++ {
					s.take(fmt.Sprint(i))
					if len(s.settled) > limit {
						t.Fatalf("%d exchanges at once, the limit is %d", len(s.settled), limit)
					}
				}
				s.sync()
			}
		}
	}
}

// fillQuota takes as many messages as the quota allows, checks that no more comes and everything else goes on, and
// completes the exchanges.
func (p *peer) fillQuota(level byte, limit int, topic string) {
	p.t.Helper()
	var open []*mqttest.Message
	for i := range limit {
		m := p.message()
		if string(m.Payload) != fmt.Sprint(i) {
			p.t.Fatalf("got %s, want %d", m.Payload, i)
		}
		open = append(open, m)
	}
	p.everythingElseGoesOn(topic + "/elsewhere")
	if level == 2 { // PUBREC makes no room
		for _, m := range open {
			p.sendAck(mqttest.PUBREC, m.ID, 0)
			p.acked(mqttest.PUBREL, m.ID)
		}
		p.sync()
	}
	for _, m := range open {
		p.sendAck([]byte{0, mqttest.PUBACK, mqttest.PUBCOMP}[level], m.ID, 0)
	}
}

// everythingElseGoesOn checks that while the quota is used up no delivery comes, and all else is answered.
func (p *peer) everythingElseGoesOn(topic string) {
	p.t.Helper()
	p.sync()
	p.subscribe(qos(0), topic+"/subscribed")
	p.unsubscribe(topic + "/subscribed")
	for level := range byte(3) {
		p.publish(mqttest.Publish{Topic: topic, QoS: level})
	}
}

// Shows MQTT5-4.9.0-1, MQTT5-4.9.0-2.
func TestRefusalsMakeRoom(t *testing.T) {
	t.Parallel()
	topic := unique()
	s, p := connect(t, v5, with(mqttest.PropReceiveMaximum, 1)), connect(t, v5)
	s.subscribe(qos(2), topic)
	for i := range 4 {
		p.publish(mqttest.Publish{Topic: topic, Payload: fmt.Append(nil, i), QoS: byte(1 + i%2)})
	}
	for i := range 4 {
		m := s.message()
		if string(m.Payload) != fmt.Sprint(i) {
			t.Fatalf("got %s, want %d", m.Payload, i)
		}
		s.sync()
		s.sendAck([]byte{mqttest.PUBACK, mqttest.PUBREC}[i%2], m.ID, 0x80)
	}
}

// Shows MQTT5-3.3.4-7.
func TestReceiveMaximumOfTheServer(t *testing.T) {
	t.Parallel()
	p := connect(t, v5)
	limit, ok := p.ack.Props.Number(mqttest.PropReceiveMaximum)
	if !ok {
		limit = 65535
	}
	topic := unique()
	var b []byte
	for i := range limit {
		b = mqttest.AppendPublish(b, v5, &mqttest.Publish{Topic: topic, QoS: 2, ID: uint16(i + 1)})
	}
	p.send(b)
	for i := range limit { // all of them are answered, and none is released
		p.acked(mqttest.PUBREC, uint16(i+1))
	}
	p.sendAck(mqttest.PUBREL, 1, 0)
	p.acked(mqttest.PUBCOMP, 1)
	p.send(mqttest.AppendPublish(nil, v5, &mqttest.Publish{Topic: topic, QoS: 2, ID: 1}))
	p.acked(mqttest.PUBREC, 1)
	if limit < 65535 {
		p.send(mqttest.AppendPublish(nil, v5, &mqttest.Publish{Topic: topic, QoS: 1, ID: uint16(limit + 1)}))
		if code := p.ended(); code != 0x93 {
			t.Errorf("one too many: DISCONNECT %#02x, want 0x93", code)
		}
	}
}
