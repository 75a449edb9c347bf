package mqttest

import (
	"bytes"
	"fmt"
)

// Message is a received PUBLISH. Inside a callback its slices point into the read buffer; Clone makes a copy to keep.
type Message struct {
	Topic   []byte
	Payload []byte
	ID      uint16 // packet identifier, 0 for QoS 0
	QoS     byte
	Dup     bool
	Retain  bool
	props   []byte
}

// Properties parses the message's properties. It shares no memory with the message.
func (m *Message) Properties() (Properties, error) { return parseProperties(m.props) }

// Clone returns a copy that shares no memory with m.
func (m *Message) Clone() *Message {
	c := *m
	c.Topic, c.Payload, c.props = bytes.Clone(m.Topic), bytes.Clone(m.Payload), bytes.Clone(m.props)
	return &c
}

// Ack is a received PUBACK, PUBREC or PUBCOMP. Inside a callback its properties point into the read buffer.
type Ack struct {
	Type  byte // PUBACK, PUBREC or PUBCOMP
	ID    uint16
	Code  byte // reason code; 0 for MQTT 3.1.1
	props []byte
}

// Properties parses the ack's properties. It shares no memory with the ack.
func (a *Ack) Properties() (Properties, error) { return parseProperties(a.props) }

// Clone returns a copy that shares no memory with a.
func (a *Ack) Clone() *Ack {
	c := *a
	c.props = bytes.Clone(a.props)
	return &c
}

// ConnAck is the server's answer to CONNECT.
type ConnAck struct {
	SessionPresent bool
	Code           byte // reason code (MQTT 5) or return code (3.1.1); 0 means connected
	Props          Properties
}

// Disconnected is the DISCONNECT that an MQTT 5 server sent before it closed the connection.
type Disconnected struct {
	Code  byte
	Props Properties
}

// Error says which reason code ended the connection.
func (d *Disconnected) Error() string {
	return fmt.Sprintf("server sent DISCONNECT %#02x %s", d.Code, d.Props.Strings[PropReasonString])
}

// section takes a property section with its length off r; nil for MQTT 3.1.1 and where the body ended before it.
func section(r *reader, version byte) []byte {
	if version != V5 || len(r.b) == 0 {
		return nil
	}
	return r.take(r.varint())
}

func parsePublish(m *Message, version, first byte, body []byte) error {
	r := reader{b: body}
	*m = Message{QoS: first >> 1 & 3, Dup: first&0x08 != 0, Retain: first&0x01 != 0}
	m.Topic = r.bytes()
	if m.QoS > 0 {
		m.ID = r.u16()
	}
	if version == V5 {
		m.props = r.take(r.varint())
	}
	m.Payload = r.b
	if m.QoS == 3 || (m.QoS > 0 && m.ID == 0) {
		return fmt.Errorf("%w: PUBLISH with QoS %d and packet identifier %d", ErrMalformed, m.QoS, m.ID)
	}
	return r.err
}

func parseAck(a *Ack, version, first byte, body []byte) error {
	r := reader{b: body}
	*a = Ack{Type: first >> 4, ID: r.u16()}
	if version == V5 && len(r.b) > 0 {
		a.Code = r.u8()
		a.props = section(&r, version)
	}
	return r.err
}

func parseConnAck(version byte, body []byte) (*ConnAck, error) {
	r := reader{b: body}
	c := &ConnAck{SessionPresent: r.u8()&1 == 1, Code: r.u8()}
	sec := section(&r, version)
	if r.err != nil {
		return nil, r.err
	}
	var err error
	c.Props, err = parseProperties(sec)
	return c, err
}

func parseDisconnect(version byte, body []byte) (*Disconnected, error) {
	r := reader{b: body}
	d := &Disconnected{}
	if len(r.b) > 0 {
		d.Code = r.u8()
	}
	sec := section(&r, version)
	if r.err != nil {
		return nil, r.err
	}
	var err error
	d.Props, err = parseProperties(sec)
	return d, err
}

// Granted is the answer to a SUBSCRIBE or UNSUBSCRIBE: one reason code for each filter, in their order.
type Granted struct {
	Codes []byte
	Props Properties
}

func parseGranted(version byte, body []byte) (id uint16, g *Granted, err error) {
	r := reader{b: body}
	id = r.u16()
	sec := section(&r, version)
	if r.err != nil {
		return 0, nil, r.err
	}
	g = &Granted{Codes: bytes.Clone(r.b)}
	g.Props, err = parseProperties(sec)
	return id, g, err
}
