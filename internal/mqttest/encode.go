package mqttest

import "encoding/binary"

// Publish is a PUBLISH to send. The client reads Payload while it encodes and keeps nothing of it.
type Publish struct {
	Topic   string
	Payload []byte
	QoS     byte
	Retain  bool
	Dup     bool
	ID      uint16      // packet identifier; only for QoS 1 and 2
	Props   *Properties // MQTT 5 only
}

// Subscription is one topic filter of a SUBSCRIBE with its options byte: QoS in bits 0–1, and for MQTT 5 No Local
// (0x04), Retain As Published (0x08) and Retain Handling (bits 4–5).
type Subscription struct {
	Filter  string
	Options byte
}

// Will is the will message of a CONNECT.
type Will struct {
	Topic   string
	Payload []byte
	QoS     byte
	Retain  bool
	Props   *Properties
}

// AppendPublish appends p as a PUBLISH of the given protocol level.
func AppendPublish(b []byte, version byte, p *Publish) []byte {
	n := 2 + len(p.Topic) + len(p.Payload)
	if p.QoS > 0 {
		n += 2
	}
	var props []byte
	if version == V5 {
		if p.Props == nil {
			n++
		} else {
			props = p.Props.append(nil)
			n += len(props)
		}
	}
	first := PUBLISH<<4 | p.QoS<<1
	if p.Dup {
		first |= 0x08
	}
	if p.Retain {
		first |= 0x01
	}
	b = appendVarint(append(b, first), n)
	b = appendString(b, p.Topic)
	if p.QoS > 0 {
		b = appendU16(b, p.ID)
	}
	if version == V5 {
		if p.Props == nil {
			b = append(b, 0)
		} else {
			b = append(b, props...)
		}
	}
	return append(b, p.Payload...)
}

// AppendAck appends a PUBACK, PUBREC, PUBREL or PUBCOMP. The reason code is written only where it is not success and the
// protocol level knows it.
func AppendAck(b []byte, version, packet byte, id uint16, code byte) []byte {
	first := packet << 4
	if packet == PUBREL {
		first |= 0x02
	}
	if version == V5 && code != 0 {
		return append(b, first, 3, byte(id>>8), byte(id), code)
	}
	return append(b, first, 2, byte(id>>8), byte(id))
}

// appendPacket appends a fixed header and body.
func appendPacket(b []byte, first byte, body []byte) []byte {
	return append(appendVarint(append(b, first), len(body)), body...)
}

// AppendSubscribe appends a SUBSCRIBE; props is for MQTT 5 only and may be nil.
func AppendSubscribe(b []byte, version byte, id uint16, props *Properties, subs []Subscription) []byte {
	body := appendU16(nil, id)
	if version == V5 {
		body = props.append(body)
	}
	for _, s := range subs {
		body = append(appendString(body, s.Filter), s.Options)
	}
	return appendPacket(b, SUBSCRIBE<<4|0x02, body)
}

// AppendUnsubscribe appends an UNSUBSCRIBE.
func AppendUnsubscribe(b []byte, version byte, id uint16, filters []string) []byte {
	body := appendU16(nil, id)
	if version == V5 {
		body = append(body, 0)
	}
	for _, f := range filters {
		body = appendString(body, f)
	}
	return appendPacket(b, UNSUBSCRIBE<<4|0x02, body)
}

// AppendDisconnect appends a DISCONNECT; code and props are for MQTT 5 only.
func AppendDisconnect(b []byte, version, code byte, props *Properties) []byte {
	if version != V5 || (code == 0 && props == nil) {
		return append(b, DISCONNECT<<4, 0)
	}
	return appendPacket(b, DISCONNECT<<4, props.append([]byte{code}))
}

// AppendConnect appends the CONNECT that o describes.
func AppendConnect(b []byte, o *Options) []byte {
	version := o.version()
	var flags byte
	if o.Clean {
		flags |= 0x02
	}
	if o.User != "" {
		flags |= 0x80
	}
	if o.Password != "" {
		flags |= 0x40
	}
	if w := o.Will; w != nil {
		flags |= 0x04 | w.QoS<<3
		if w.Retain {
			flags |= 0x20
		}
	}
	body := append(appendString(nil, "MQTT"), version, flags)
	body = appendU16(body, o.KeepAlive)
	if version == V5 {
		body = o.connectProperties().append(body)
	}
	body = appendString(body, o.ClientID)
	if w := o.Will; w != nil {
		if version == V5 {
			body = w.Props.append(body)
		}
		body = appendString(body, w.Topic)
		body = binary.BigEndian.AppendUint16(body, uint16(len(w.Payload)))
		body = append(body, w.Payload...)
	}
	if o.User != "" {
		body = appendString(body, o.User)
	}
	if o.Password != "" {
		body = appendString(body, o.Password)
	}
	return appendPacket(b, CONNECT<<4, body)
}
