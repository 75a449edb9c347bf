package mqttest

import (
	"encoding/binary"
	"fmt"
)

// Property identifiers (MQTT 5, 2.2.2.2).
const (
	PropPayloadFormat         byte = 0x01
	PropMessageExpiry         byte = 0x02
	PropContentType           byte = 0x03
	PropResponseTopic         byte = 0x08
	PropCorrelationData       byte = 0x09
	PropSubscriptionID        byte = 0x0b
	PropSessionExpiry         byte = 0x11
	PropAssignedClientID      byte = 0x12
	PropServerKeepAlive       byte = 0x13
	PropAuthMethod            byte = 0x15
	PropAuthData              byte = 0x16
	PropRequestProblemInfo    byte = 0x17
	PropWillDelay             byte = 0x18
	PropRequestResponseInfo   byte = 0x19
	PropResponseInfo          byte = 0x1a
	PropServerReference       byte = 0x1c
	PropReasonString          byte = 0x1f
	PropReceiveMaximum        byte = 0x21
	PropTopicAliasMaximum     byte = 0x22
	PropTopicAlias            byte = 0x23
	PropMaximumQoS            byte = 0x24
	PropRetainAvailable       byte = 0x25
	PropUser                  byte = 0x26
	PropMaximumPacketSize     byte = 0x27
	PropWildcardAvailable     byte = 0x28
	PropSubscriptionAvailable byte = 0x29
	PropSharedAvailable       byte = 0x2a
)

// UserProperty is one name and value pair. Names may repeat and their order is kept.
type UserProperty struct{ Name, Value string }

// Properties are the MQTT 5 properties of one packet. Numbers and Strings are keyed by property identifier and hold only
// what is present, so that "absent" and "zero" stay apart. The zero value has no properties.
type Properties struct {
	Numbers         map[byte]uint32
	Strings         map[byte]string
	SubscriptionIDs []uint32
	User            []UserProperty
}

// Number returns the numeric property id and whether it is present.
func (p *Properties) Number(id byte) (uint32, bool) {
	n, ok := p.Numbers[id]
	return n, ok
}

// SetNumber sets the numeric property id and returns p.
func (p *Properties) SetNumber(id byte, n uint32) *Properties {
	if p.Numbers == nil {
		p.Numbers = make(map[byte]uint32)
	}
	p.Numbers[id] = n
	return p
}

// SetString sets the string or binary property id and returns p.
func (p *Properties) SetString(id byte, s string) *Properties {
	if p.Strings == nil {
		p.Strings = make(map[byte]string)
	}
	p.Strings[id] = s
	return p
}

// AddUser appends a user property and returns p.
func (p *Properties) AddUser(name, value string) *Properties {
	p.User = append(p.User, UserProperty{name, value})
	return p
}

// UserValue returns the value of the first user property called name, or "".
func (p *Properties) UserValue(name string) string {
	for _, u := range p.User {
		if u.Name == name {
			return u.Value
		}
	}
	return ""
}

// kind of a property's value on the wire.
type kind byte

const (
	kindNone kind = iota
	kindU8
	kindU16
	kindU32
	kindVarint
	kindString
	kindPair
)

var kinds = [...]kind{
	PropPayloadFormat: kindU8, PropMessageExpiry: kindU32, PropContentType: kindString, PropResponseTopic: kindString,
	PropCorrelationData: kindString, PropSubscriptionID: kindVarint, PropSessionExpiry: kindU32,
	PropAssignedClientID: kindString, PropServerKeepAlive: kindU16, PropAuthMethod: kindString, PropAuthData: kindString,
	PropRequestProblemInfo: kindU8, PropWillDelay: kindU32, PropRequestResponseInfo: kindU8, PropResponseInfo: kindString,
	PropServerReference: kindString, PropReasonString: kindString, PropReceiveMaximum: kindU16,
	PropTopicAliasMaximum: kindU16, PropTopicAlias: kindU16, PropMaximumQoS: kindU8, PropRetainAvailable: kindU8,
	PropUser: kindPair, PropMaximumPacketSize: kindU32, PropWildcardAvailable: kindU8, PropSubscriptionAvailable: kindU8,
	PropSharedAvailable: kindU8,
}

// append writes the property section: its length and the properties in the order of their identifiers.
func (p *Properties) append(b []byte) []byte {
	if p == nil {
		return append(b, 0)
	}
	var sec []byte
	for id := range kinds {
		sec = p.appendOne(sec, byte(id))
	}
	return append(appendVarint(b, len(sec)), sec...)
}

func (p *Properties) appendOne(b []byte, id byte) []byte {
	if id == PropUser {
		for _, u := range p.User {
			b = appendString(appendString(append(b, id), u.Name), u.Value)
		}
		return b
	}
	if id == PropSubscriptionID {
		for _, n := range p.SubscriptionIDs {
			b = appendVarint(append(b, id), int(n))
		}
		return b
	}
	if s, ok := p.Strings[id]; ok {
		return appendString(append(b, id), s)
	}
	n, ok := p.Numbers[id]
	if !ok {
		return b
	}
	b = append(b, id)
	switch kinds[id] {
	case kindU8:
		return append(b, byte(n))
	case kindU16:
		return appendU16(b, uint16(n))
	default:
		return binary.BigEndian.AppendUint32(b, n)
	}
}

// parseProperties decodes a property section without its length. The result shares no memory with sec.
func parseProperties(sec []byte) (Properties, error) {
	var p Properties
	r := reader{b: sec}
	for len(r.b) > 0 && r.err == nil {
		id := r.u8()
		if int(id) >= len(kinds) || kinds[id] == kindNone {
			return p, fmt.Errorf("%w: property %#x", ErrMalformed, id)
		}
		switch kinds[id] {
		case kindU8:
			p.SetNumber(id, uint32(r.u8()))
		case kindU16:
			p.SetNumber(id, uint32(r.u16()))
		case kindU32:
			p.SetNumber(id, r.u32())
		case kindVarint:
			p.SubscriptionIDs = append(p.SubscriptionIDs, uint32(r.varint()))
		case kindPair:
			name := string(r.bytes())
			p.AddUser(name, string(r.bytes()))
		default:
			p.SetString(id, string(r.bytes()))
		}
	}
	return p, r.err
}
