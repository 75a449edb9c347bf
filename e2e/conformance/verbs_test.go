package conformance_test

import (
	"encoding/binary"
	"testing"

	"tidings/internal/mqttest"
)

// packetOf builds a packet of parts, for what no encoder would write.
func packetOf(first byte, parts ...[]byte) []byte {
	var body []byte
	for _, p := range parts {
		body = append(body, p...)
	}
	b := []byte{first}
	n := len(body)
	for n >= 0x80 {
		b = append(b, byte(n)|0x80)
		n >>= 7
	}
	return append(append(b, byte(n)), body...)
}

// str is a string on the wire.
func str(s string) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(s))), s...)
}

// props is the property section of MQTT 5; nothing for 3.1.1.
func (p *peer) props(section ...byte) []byte {
	if p.version != v5 {
		return nil
	}
	return append([]byte{byte(len(section))}, section...)
}

// qos are subscription options that say a QoS and nothing else.
func qos(n byte) byte { return n }

const (
	noLocal     byte = 0x04
	asPublished byte = 0x08
)

func retainHandling(n byte) byte { return n << 4 }

// subscribe subscribes to filters with the same options; all must be granted as asked for.
func (p *peer) subscribe(options byte, filters ...string) {
	p.t.Helper()
	for _, code := range p.suback(options, nil, filters...) {
		if code != options&3 {
			p.t.Fatalf("subscribe %q: %#02x, want %#02x", filters, code, options&3)
		}
	}
}

// suback subscribes and returns the codes of the SUBACK.
func (p *peer) suback(options byte, props *mqttest.Properties, filters ...string) []byte {
	p.t.Helper()
	subs := make([]mqttest.Subscription, len(filters))
	for i, f := range filters {
		subs[i] = mqttest.Subscription{Filter: f, Options: options}
	}
	id := p.nextID()
	p.send(mqttest.AppendSubscribe(nil, p.version, id, props, subs))
	return p.granted(mqttest.SUBACK, id)
}

// unsubscribe returns the codes of the UNSUBACK; MQTT 3.1.1 has none.
func (p *peer) unsubscribe(filters ...string) []byte {
	p.t.Helper()
	id := p.nextID()
	p.send(mqttest.AppendUnsubscribe(nil, p.version, id, filters))
	return p.granted(mqttest.UNSUBACK, id)
}

func (p *peer) granted(kind byte, want uint16) []byte {
	p.t.Helper()
	id, g, err := p.packet(kind).Granted(p.version)
	if err != nil || id != want {
		p.t.Fatalf("packet of type %d: identifier %d, want %d, %v", kind, id, want, err)
	}
	return g.Codes
}

// publish sends a message and completes its exchange; the answer must be no refusal.
func (p *peer) publish(m mqttest.Publish) {
	p.t.Helper()
	if code := p.published(m); code >= 0x80 {
		p.t.Fatalf("publish to %q: %#02x", m.Topic, code)
	}
}

// published is publish that returns the reason code of the first answer.
func (p *peer) published(m mqttest.Publish) byte {
	p.t.Helper()
	if m.QoS > 0 && m.ID == 0 {
		m.ID = p.nextID()
	}
	p.send(mqttest.AppendPublish(nil, p.version, &m))
	switch m.QoS {
	case 1:
		return p.acked(mqttest.PUBACK, m.ID)
	case 2:
		code := p.acked(mqttest.PUBREC, m.ID)
		if code < 0x80 {
			p.sendAck(mqttest.PUBREL, m.ID, 0)
			p.acked(mqttest.PUBCOMP, m.ID)
		}
		return code
	}
	p.sync() // the server has taken it
	return 0
}

// say publishes a text at QoS 1.
func (p *peer) say(topic, text string) {
	p.t.Helper()
	p.publish(mqttest.Publish{Topic: topic, Payload: []byte(text), QoS: 1})
}

// take reads the next message, which must have that payload, and acknowledges it.
func (p *peer) take(text string) *mqttest.Message {
	p.t.Helper()
	m := p.message()
	if string(m.Payload) != text {
		p.t.Fatalf("got %.200q on %s, want %.200q", m.Payload, m.Topic, text)
	}
	p.settle(m)
	return m
}

// settle acknowledges a message. At QoS 2 the rest of the exchange happens while later packets are read.
func (p *peer) settle(m *mqttest.Message) {
	p.t.Helper()
	switch m.QoS {
	case 1:
		p.sendAck(mqttest.PUBACK, m.ID, 0)
	case 2:
		if p.settled == nil {
			p.settled = make(map[uint16]bool)
		}
		p.settled[m.ID] = true
		p.sendAck(mqttest.PUBREC, m.ID, 0)
	}
}

// properties are the properties of a message.
func properties(t *testing.T, m *mqttest.Message) *mqttest.Properties {
	t.Helper()
	p, err := m.Properties()
	if err != nil {
		t.Fatal(err)
	}
	return &p
}

// pass lets the server's clock go on by seconds: a will delay of that length has to pass.
func pass(t *testing.T, seconds uint32) {
	t.Helper()
	topic := unique()
	watch := connect(t, v5)
	watch.subscribe(qos(0), topic)
	connect(t, v5, lasting, func(o *mqttest.Options) {
		o.Will = &mqttest.Will{Topic: topic, Payload: []byte("now"), Props: (&mqttest.Properties{}).SetNumber(mqttest.PropWillDelay, seconds)}
	}).drop()
	watch.take("now")
}
