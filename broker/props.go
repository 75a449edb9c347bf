package broker

import "github.com/mochi-mqtt/server/v2/packets"

// props are the MQTT 5 properties of one packet from a client. has tells which
// were there. Slices point into the packet.
type props struct {
	seen uint64 // bit per property identifier

	payloadFormat  byte
	problemInfo    byte
	responseInfo   byte
	receiveMaximum uint16
	aliasMaximum   uint16
	alias          uint16
	expiry         uint32 // Message Expiry Interval
	sessionExpiry  uint32
	willDelay      uint32
	maximumPacket  uint32
	subscriptionID uint32
	contentType    []byte
	responseTopic  []byte
	correlation    []byte
	authMethod     []byte
	authData       []byte

	raw  []byte     // the whole section
	hop  [2]section // of what is in hopProperties, in order: a packet has at most two of them
	hops int
}

func (p *props) has(id byte) bool { return p.seen&(1<<id) != 0 }

// Bits of propertyRule.packets.
const (
	inConnect = 1 << iota
	inWill
	inPublish
	inAck // PUBACK, PUBREC, PUBREL and PUBCOMP
	inSubscribe
	inUnsubscribe
	inDisconnect
	inAuth
)

// propertyType is the form of a property's value on the wire.
type propertyType byte

const (
	propByte propertyType = iota + 1
	propBool              // a byte that is 0 or 1
	propU16
	propU32
	propVarint
	propText
	propBinary
	propPair
)

// propertyRule says in which packets of a client a property may stand (MQTT 5,
// 2.2.2.2). nonzero marks those whose zero is a protocol error.
type propertyRule struct {
	kind    propertyType
	packets uint16
	nonzero bool
}

var propertyRules = [64]propertyRule{
	packets.PropPayloadFormat:          {propBool, inPublish | inWill, false},
	packets.PropMessageExpiryInterval:  {propU32, inPublish | inWill, false},
	packets.PropContentType:            {propText, inPublish | inWill, false},
	packets.PropResponseTopic:          {propText, inPublish | inWill, false},
	packets.PropCorrelationData:        {propBinary, inPublish | inWill, false},
	packets.PropSubscriptionIdentifier: {propVarint, inSubscribe, true}, // not in a client's PUBLISH [MQTT-3.3.4-6]
	packets.PropSessionExpiryInterval:  {propU32, inConnect | inDisconnect, false},
	packets.PropAuthenticationMethod:   {propText, inConnect | inAuth, false},
	packets.PropAuthenticationData:     {propBinary, inConnect | inAuth, false},
	packets.PropRequestProblemInfo:     {propBool, inConnect, false},
	packets.PropWillDelayInterval:      {propU32, inWill, false},
	packets.PropRequestResponseInfo:    {propBool, inConnect, false},
	packets.PropReasonString:           {propText, inAck | inDisconnect | inAuth, false},
	packets.PropReceiveMaximum:         {propU16, inConnect, true},
	packets.PropTopicAliasMaximum:      {propU16, inConnect, false},
	packets.PropTopicAlias:             {propU16, inPublish, false}, // zero has a reason code of its own
	packets.PropUser:                   {propPair, inConnect | inWill | inPublish | inAck | inSubscribe | inUnsubscribe | inDisconnect | inAuth, false},
	packets.PropMaximumPacketSize:      {propU32, inConnect, true},
}

// props takes a property section with its length. The code is zero, or why the
// packet is not acceptable: malformed, or a protocol error for a property that
// stands twice or has a forbidden value.
func (s *scanner) props(packet uint16, p *props) byte {
	all := scanner{b: s.take(s.varint())}
	if s.bad {
		return malformed
	}
	p.raw = all.b
	for len(all.b) > 0 {
		if code := all.property(packet, p); code != 0 {
			return code
		}
	}
	return 0
}

func (s *scanner) property(packet uint16, p *props) byte {
	from := len(p.raw) - len(s.b)
	id := s.u8()
	if id >= 64 || propertyRules[id].packets&packet == 0 {
		return malformed
	}
	rule := propertyRules[id]
	if p.has(id) && rule.kind != propPair {
		return protocolError
	}
	p.seen |= 1 << id
	n, data := s.value(rule.kind)
	switch {
	case s.bad:
		return malformed
	case rule.nonzero && n == 0, rule.kind == propBool && n > 1:
		return protocolError
	}
	p.set(id, n, data)
	if hopProperties&(1<<id) != 0 {
		p.hop[p.hops] = section{from, len(p.raw) - len(s.b)}
		p.hops++
	}
	return 0
}

// value takes the value of a property: a number or data.
func (s *scanner) value(kind propertyType) (n uint32, data []byte) {
	switch kind {
	case propByte, propBool:
		n = uint32(s.u8())
	case propU16:
		n = uint32(s.u16())
	case propU32:
		n = s.u32()
	case propVarint:
		n = uint32(s.varint())
	case propText:
		data = s.text()
	case propBinary:
		data = s.binary()
	case propPair:
		s.text()
		s.text()
	}
	return n, data
}

func (p *props) set(id byte, n uint32, data []byte) {
	switch id {
	case packets.PropPayloadFormat:
		p.payloadFormat = byte(n)
	case packets.PropMessageExpiryInterval:
		p.expiry = n
	case packets.PropContentType:
		p.contentType = data
	case packets.PropResponseTopic:
		p.responseTopic = data
	case packets.PropCorrelationData:
		p.correlation = data
	case packets.PropSubscriptionIdentifier:
		p.subscriptionID = n
	case packets.PropSessionExpiryInterval:
		p.sessionExpiry = n
	case packets.PropAuthenticationMethod:
		p.authMethod = data
	case packets.PropAuthenticationData:
		p.authData = data
	case packets.PropRequestProblemInfo:
		p.problemInfo = byte(n)
	case packets.PropWillDelayInterval:
		p.willDelay = n
	case packets.PropRequestResponseInfo:
		p.responseInfo = byte(n)
	case packets.PropReceiveMaximum:
		p.receiveMaximum = uint16(n)
	case packets.PropTopicAliasMaximum:
		p.aliasMaximum = uint16(n)
	case packets.PropTopicAlias:
		p.alias = uint16(n)
	case packets.PropMaximumPacketSize:
		p.maximumPacket = n
	}
}
