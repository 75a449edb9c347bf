package conformance_test

import (
	"strings"
	"testing"

	"tidings/internal/mqttest"
)

// narrow limits the packets that a client takes to n bytes.
func narrow(n uint32) func(*mqttest.Options) { return with(mqttest.PropMaximumPacketSize, n) }

// Shows MQTT5-3.1.2-24, MQTT5-3.1.2-25.
func TestMaximumPacketSizeOfTheClient(t *testing.T) {
	t.Parallel()
	const limit = 64
	topic := unique()
	s, p := connect(t, v5, lasting, narrow(limit)), connect(t, v5)
	for level := range byte(3) {
		s.subscribe(qos(level), topic)
		rest := limit - 2 - 2 - len(topic) - 1 // fixed header, topic, properties
		if level > 0 {
			rest -= 2
		}
		fits := strings.Repeat("x", rest)
		for _, text := range []string{fits, fits + "y", strings.Repeat("z", 5000), "end"} {
			p.publish(mqttest.Publish{Topic: topic, Payload: []byte(text), QoS: level})
		}
		s.take(fits)
		s.take("end")
	}
	// What is too large is not kept either.
	s.sync()
	s.drop()
	p.publish(mqttest.Publish{Topic: topic, Payload: make([]byte, 500), QoS: 2})
	p.publish(mqttest.Publish{Topic: topic, Payload: []byte("end"), QoS: 2})
	s = s.again(narrow(limit))
	s.take("end")
	s.sync()
	s.drop()
	s = s.again()
	p.publish(mqttest.Publish{Topic: topic, Payload: []byte("end of all"), QoS: 2})
	s.take("end of all")
}

// A packet that the server must send has neither reason string nor user properties where these would make it larger than
// the client takes. Smaller than all of its packets without them is no client that can be served.
//
// Shows MQTT5-3.2.2-19, MQTT5-3.2.2-20, MQTT5-3.4.2-2, MQTT5-3.4.2-3, MQTT5-3.5.2-2, MQTT5-3.5.2-3, MQTT5-3.6.2-2, MQTT5-3.6.2-3.
// Shows MQTT5-3.7.2-2, MQTT5-3.7.2-3, MQTT5-3.9.2-1, MQTT5-3.9.2-2, MQTT5-3.11.2-1, MQTT5-3.11.2-2, MQTT5-3.14.2-3, MQTT5-3.14.2-4.
func TestAnswersFitTheClientsMaximumPacketSize(t *testing.T) {
	t.Parallel()
	const limit = 20
	check := func(k mqttest.Packet) mqttest.Packet {
		t.Helper()
		if k.Size() > limit && k.Type() != mqttest.CONNACK {
			t.Errorf("a packet of %d bytes: %v", k.Size(), k)
		}
		return k
	}
	refused := dial(t, v5)
	refused.send(mqttest.AppendConnect(nil, &mqttest.Options{
		Version: v5, ClientID: unique(), Clean: true,
		Props: (&mqttest.Properties{}).SetNumber(mqttest.PropMaximumPacketSize, limit).SetString(mqttest.PropAuthMethod, "no such method"),
	}))
	if k := refused.packet(mqttest.CONNACK); k.Size() > limit {
		t.Errorf("a CONNACK that refuses has %d bytes", k.Size())
	}

	topic := "t" + unique()[2:]
	p := connect(t, v5, narrow(limit))
	for _, m := range []mqttest.Publish{
		{Topic: "u/nobody", QoS: 1, ID: 1}, {Topic: "u/nobody", QoS: 2, ID: 2}, {Topic: topic, QoS: 1, ID: 3}, {Topic: topic, QoS: 2, ID: 4},
	} {
		p.send(mqttest.AppendPublish(nil, v5, &m))
		check(p.packet([]byte{0, mqttest.PUBACK, mqttest.PUBREC}[m.QoS]))
	}
	for _, id := range []uint16{4, 99} {
		p.sendAck(mqttest.PUBREL, id, 0)
		check(p.packet(mqttest.PUBCOMP))
	}
	p.sendAck(mqttest.PUBREC, 98, 0) // for nothing
	check(p.packet(mqttest.PUBREL))
	for _, filter := range []string{topic, "u/+", "a#"} {
		p.send(mqttest.AppendSubscribe(nil, v5, 5, nil, []mqttest.Subscription{{Filter: filter, Options: 2}}))
		check(p.packet(mqttest.SUBACK))
		p.send(mqttest.AppendUnsubscribe(nil, v5, 6, []string{filter}))
		check(p.packet(mqttest.UNSUBACK))
	}
	p.send([]byte{0x00, 0x00})
	check(p.packet(mqttest.DISCONNECT))
}

// Shows MQTT5-3.1.2-29.
func TestNoProblemInformation(t *testing.T) {
	t.Parallel()
	topic := unique()
	p := connect(t, v5, with(mqttest.PropRequestProblemInfo, 0))
	bare := func(k mqttest.Packet, what string, props mqttest.Properties) {
		t.Helper()
		if len(props.Strings) > 0 || len(props.User) > 0 {
			t.Errorf("%s has %+v: %v", what, props, k)
		}
	}
	ack := func(kind byte) {
		t.Helper()
		k := p.packet(kind)
		a, err := k.Ack(v5)
		if err != nil {
			t.Fatal(err)
		}
		props, err := a.Properties()
		if err != nil {
			t.Fatal(err)
		}
		bare(k, "acknowledgement", props)
	}
	for i, where := range []string{topic, "u/nobody"} {
		for level := byte(1); level <= 2; level++ {
			p.send(mqttest.AppendPublish(nil, v5, &mqttest.Publish{Topic: where, QoS: level, ID: uint16(10*i) + uint16(level)}))
			ack([]byte{0, mqttest.PUBACK, mqttest.PUBREC}[level])
		}
	}
	p.sendAck(mqttest.PUBREL, 2, 0)
	ack(mqttest.PUBCOMP)
	p.sendAck(mqttest.PUBREL, 99, 0)
	ack(mqttest.PUBCOMP)
	p.sendAck(mqttest.PUBREC, 98, 0)
	ack(mqttest.PUBREL)
	for kind, b := range map[byte][]byte{
		mqttest.SUBACK:   mqttest.AppendSubscribe(nil, v5, 5, nil, []mqttest.Subscription{{Filter: "u/+", Options: 1}}),
		mqttest.UNSUBACK: mqttest.AppendUnsubscribe(nil, v5, 5, []string{"not there"}),
	} {
		p.send(b)
		k := p.packet(kind)
		_, g, err := k.Granted(v5)
		if err != nil {
			t.Fatal(err)
		}
		bare(k, "answer", g.Props)
	}
}
