package conformance_test

import (
	"testing"

	"tidings/internal/mqttest"
)

// Shows MQTT3-2.3.1-6, MQTT3-3.3.4-1, MQTT3-4.3.2-2, MQTT3-4.3.3-2.
// Shows MQTT5-2.2.1-5, MQTT5-3.3.4-1, MQTT5-3.4.2-1, MQTT5-3.5.2-1, MQTT5-3.7.2-1, MQTT5-4.3.2-4, MQTT5-4.3.3-8, MQTT5-4.3.3-11.
func TestAnswersToPublish(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		topic := unique()
		p := connect(t, version)
		p.publish(mqttest.Publish{Topic: topic, QoS: 0}) // answered by nothing but the PINGRESP behind it
		for _, id := range []uint16{1, 0xff, 0x100, 0x8000, 0xffff} {
			send := func(level byte) {
				p.send(mqttest.AppendPublish(nil, version, &mqttest.Publish{Topic: topic, Payload: []byte("x"), QoS: level, ID: id}))
			}
			success := func(kind byte) {
				t.Helper()
				if code := p.acked(kind, id); code != 0 && (code != 0x10 || kind == mqttest.PUBCOMP) {
					t.Errorf("packet of type %d: %#02x", kind, code)
				}
			}
			send(1)
			success(mqttest.PUBACK)
			send(2)
			success(mqttest.PUBREC)
			p.sendAck(mqttest.PUBREL, id, 0)
			success(mqttest.PUBCOMP)
		}
		p.sync()
	})
}

// Shows MQTT3-4.3.2-2, MQTT5-4.3.2-5, MQTT3-3.3.1-3, MQTT5-3.3.1-3.
func TestIdentifierIsFreeAfterPuback(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		topic := unique()
		s, p := fresh(t, version, qos(1), topic), connect(t, version)
		for _, dup := range []bool{false, true, true, false} {
			p.send(mqttest.AppendPublish(nil, version, &mqttest.Publish{Topic: topic, Payload: []byte("same"), QoS: 1, ID: 7, Dup: dup}))
			p.acked(mqttest.PUBACK, 7)
			if m := s.take("same"); m.Dup {
				t.Errorf("came with DUP 1 after DUP %v", dup)
			}
		}
	})
}

// Shows MQTT3-2.3.1-2, MQTT3-4.3.3-2, MQTT3-3.3.1-3, MQTT5-2.2.1-3, MQTT5-4.3.3-8, MQTT5-4.3.3-10, MQTT5-4.3.3-11, MQTT5-4.3.3-12, MQTT5-3.3.1-3.
func TestExactlyOnceAsReceiver(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		topic := unique()
		s, p := fresh(t, version, qos(2), topic), connect(t, version, lasting)
		send := func(text string, dup bool) {
			p.send(mqttest.AppendPublish(nil, version, &mqttest.Publish{Topic: topic, Payload: []byte(text), QoS: 2, ID: 7, Dup: dup}))
			if code := p.acked(mqttest.PUBREC, 7); code >= 0x80 {
				t.Errorf("%s: PUBREC %#02x", text, code)
			}
		}
		send("first", false)
		send("first", true)
		send("first", false)
		p.drop()
		p = p.again() // the identifier belongs to the session
		if !p.ack.SessionPresent {
			t.Error("no session")
		}
		send("first", true)
		p.sendAck(mqttest.PUBREL, 7, 0)
		p.acked(mqttest.PUBCOMP, 7)
		p.sendAck(mqttest.PUBREL, 7, 0) // once more, as a client does that has not seen the PUBCOMP
		if code := p.acked(mqttest.PUBCOMP, 7); version == v5 && code != 0 && code != 0x92 {
			t.Errorf("PUBCOMP %#02x", code)
		}
		send("second", true) // new, whatever DUP says
		p.sendAck(mqttest.PUBREL, 7, 0)
		p.acked(mqttest.PUBCOMP, 7)
		for _, want := range []string{"first", "second"} {
			if m := s.take(want); m.Dup || m.QoS != 2 {
				t.Errorf("%s: DUP %v, QoS %d", want, m.Dup, m.QoS)
			}
		}
		s.sync()
	})
}

// Shows MQTT3-3.3.5-2.
func TestPublishThatIsNotAllowed311(t *testing.T) {
	t.Parallel()
	p := connect(t, v3)
	for level := byte(1); level <= 2; level++ {
		p.publish(mqttest.Publish{Topic: "u/nobody", Payload: []byte("x"), QoS: level})
	}
	p.sync()
}

// Shows MQTT5-4.3.3-9.
func TestIdentifierIsFreeAfterRefusingPubrec(t *testing.T) {
	t.Parallel()
	topic := unique()
	s, p := fresh(t, v5, qos(2), topic), connect(t, v5)
	if code := p.published(mqttest.Publish{Topic: "u/nobody", Payload: []byte("x"), QoS: 2, ID: 7}); code != 0x87 {
		t.Fatalf("a chat topic: PUBREC %#02x, want 0x87", code)
	}
	p.publish(mqttest.Publish{Topic: topic, Payload: []byte("x"), QoS: 2, ID: 7})
	s.take("x")
}

// Shows MQTT3-2.3.1-4, MQTT3-4.3.1-1, MQTT3-4.3.2-1, MQTT3-4.3.3-1, MQTT3-3.3.1-2.
// Shows MQTT5-2.2.1-4, MQTT5-4.3.1-1, MQTT5-4.3.2-1, MQTT5-4.3.2-2, MQTT5-4.3.3-1, MQTT5-4.3.3-2, MQTT5-4.3.3-4, MQTT5-3.3.1-2.
func TestDeliveriesHaveFreshIdentifiers(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		const n = 30
		topic := unique()
		s, p := fresh(t, version, qos(2), topic), connect(t, version)
		open := make(map[uint16]bool)
		var messages []*mqttest.Message
		for i := range n {
			p.publish(mqttest.Publish{Topic: topic, Payload: []byte{byte(i)}, QoS: byte(i % 3)})
		}
		for i := range n {
			m := s.message()
			switch {
			case m.Dup || m.QoS != byte(i%3) || m.Payload[0] != byte(i):
				t.Fatalf("message %d: DUP %v, QoS %d, payload %x", i, m.Dup, m.QoS, m.Payload)
			case m.QoS == 0:
				continue
			case m.ID == 0 || open[m.ID]:
				t.Errorf("identifier %d is in use", m.ID)
			}
			open[m.ID] = true
			messages = append(messages, m)
		}
		for _, m := range messages {
			s.settle(m) // PUBREL has the identifier of its PUBREC
		}
		p.say(topic, "end")
		s.take("end")
	})
}

// Shows MQTT3-4.3.2-1, MQTT3-4.3.3-1, MQTT3-4.4.0-1, MQTT3-4.6.0-1, MQTT3-3.3.1-1, MQTT3-2.3.1-4.
// Shows MQTT5-4.3.2-3, MQTT5-4.3.3-3, MQTT5-4.3.3-5, MQTT5-4.3.3-6, MQTT5-4.4.0-1, MQTT5-4.6.0-1, MQTT5-3.3.1-1.
func TestOpenDeliveriesComeAgain(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		topic := unique()
		s, p := connect(t, version, lasting), connect(t, version)
		s.subscribe(qos(2), topic)
		texts := []string{"1 QoS 1", "2 QoS 2, received", "3 QoS 1, acknowledged", "4 QoS 2", "5 QoS 1"}
		levels := []byte{1, 2, 1, 2, 1}
		for i, text := range texts {
			p.publish(mqttest.Publish{Topic: topic, Payload: []byte(text), QoS: levels[i]})
		}
		var first []*mqttest.Message
		for range texts {
			first = append(first, s.message())
		}
		s.sync() // and nothing is sent again while the connection lasts
		s.sendAck(mqttest.PUBREC, first[1].ID, 0)
		s.acked(mqttest.PUBREL, first[1].ID)
		s.sendAck(mqttest.PUBACK, first[2].ID, 0)
		for range 2 { // and once more
			s.sync()
			s.drop()
			s = s.again()
			var got []string
			released := false
			for range 4 {
				k, err := s.read()
				if err != nil {
					t.Fatal(err)
				}
				if k.Type() == mqttest.PUBREL {
					if a, err := k.Ack(version); err != nil || a.ID != first[1].ID || released {
						t.Errorf("PUBREL %v, want identifier %d, %v", k, first[1].ID, err)
					}
					released = true
					continue
				}
				m, err := k.Message(version)
				if err != nil || k.Type() != mqttest.PUBLISH {
					t.Fatalf("got %v, %v", k, err)
				}
				for _, f := range first {
					if f.ID == m.ID && (string(f.Payload) != string(m.Payload) || f.QoS != m.QoS || !m.Dup) {
						t.Errorf("identifier %d: %s, QoS %d, DUP %v; was %s, QoS %d", m.ID, m.Payload, m.QoS, m.Dup, f.Payload, f.QoS)
					}
				}
				got = append(got, string(m.Payload))
			}
			if len(got) != 3 || got[0] != texts[0] || got[1] != texts[3] || got[2] != texts[4] || !released {
				t.Fatalf("again: %q, PUBREL %v", got, released)
			}
		}
		s.sendAck(mqttest.PUBCOMP, first[1].ID, 0)
		s.sendAck(mqttest.PUBACK, first[0].ID, 0)
		s.settle(first[3])
		s.sendAck(mqttest.PUBACK, first[4].ID, 0)
		s.sync()
		s.drop()
		s = s.again()
		p.say(topic, "end")
		s.take("end")
	})
}

// Shows MQTT5-4.4.0-2.
func TestRefusedDeliveriesDoNotComeAgain(t *testing.T) {
	t.Parallel()
	topic := unique()
	s, p := connect(t, v5, lasting), connect(t, v5)
	s.subscribe(qos(2), topic)
	p.publish(mqttest.Publish{Topic: topic, Payload: []byte("one"), QoS: 1})
	p.publish(mqttest.Publish{Topic: topic, Payload: []byte("two"), QoS: 2})
	one, two := s.message(), s.message()
	s.sendAck(mqttest.PUBACK, one.ID, 0x83)
	s.sendAck(mqttest.PUBREC, two.ID, 0x97)
	s.sync() // and no PUBREL
	s.drop()
	s = s.again()
	p.say(topic, "end")
	s.take("end")
}

// Shows MQTT3-4.6.0-2, MQTT3-4.6.0-3, MQTT3-4.6.0-4, MQTT3-4.6.0-5, MQTT3-4.6.0-6.
// Shows MQTT5-4.6.0-2, MQTT5-4.6.0-3, MQTT5-4.6.0-4, MQTT5-4.6.0-5, MQTT5-4.6.0-6.
func TestOrder(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		const n = 100
		for level := range byte(3) {
			topic := unique()
			watch := []*peer{fresh(t, version, qos(2), topic), fresh(t, version, qos(2), topic+"/#"), fresh(t, version, qos(0), topic)}
			p := connect(t, version)
			var b []byte
			for i := range n {
				b = mqttest.AppendPublish(b, version, &mqttest.Publish{Topic: topic, Payload: []byte{byte(i)}, QoS: level, ID: uint16(i + 1)})
			}
			p.send(b)
			for _, kind := range [][]byte{nil, {mqttest.PUBACK}, {mqttest.PUBREC, mqttest.PUBCOMP}}[level] {
				for i := range n {
					p.acked(kind, uint16(i+1))
				}
				if kind == mqttest.PUBREC {
					for i := range n {
						p.sendAck(mqttest.PUBREL, uint16(i+1), 0)
					}
				}
			}
			for _, s := range watch {
				for i := range n {
					m := s.message()
					s.settle(m)
					if m.Payload[0] != byte(i) {
						t.Fatalf("QoS %d: message %d came as number %d", level, m.Payload[0], i)
					}
				}
			}
		}
	})
}

// Shows MQTT3-4.6.0-4, MQTT5-4.6.0-4.
func TestOrderOfPubrel(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		const n = 10
		topic := unique()
		s, p := fresh(t, version, qos(2), topic), connect(t, version)
		var open []*mqttest.Message
		for range n {
			p.publish(mqttest.Publish{Topic: topic, QoS: 2})
		}
		for range n {
			open = append(open, s.message())
		}
		for i := range n { // from the last to the first
			s.sendAck(mqttest.PUBREC, open[n-1-i].ID, 0)
		}
		for i := range n {
			s.acked(mqttest.PUBREL, open[n-1-i].ID)
		}
	})
}
