package broker

import (
	"bytes"

	"github.com/mochi-mqtt/server/v2/packets"

	"tidings/topics"
)

// encode appends a rare packet by mochi's codec.
func encode(b []byte, kind byte, pk *packets.Packet, f func(*packets.Packet, *bytes.Buffer) error) []byte {
	pk.FixedHeader.Type = kind
	buf := bytes.NewBuffer(b)
	if err := f(pk, buf); err != nil {
		return b // mochi's encoders of the packets that we send return nil always
	}
	return buf.Bytes()
}

// appendRefusedConnack appends a CONNACK that says no; nothing where the protocol
// of that level has none for code. reference is told with the code that sends a
// client to another server.
func appendRefusedConnack(b []byte, version, code byte, reference string) []byte {
	if version >= 5 { // levels above 5 are answered as MQTT 5 would be (3.1.2.2)
		pk := packets.Packet{ProtocolVersion: 5, ReasonCode: code}
		if code == packets.ErrUseAnotherServer.Code {
			pk.Properties.ServerReference = reference
		}
		return encode(b, typeConnack, &pk, (*packets.Packet).ConnackEncode)
	}
	v3 := v3ConnectCode(code)
	if v3 == 0 {
		return b
	}
	return encode(b, typeConnack, &packets.Packet{ProtocolVersion: 4, ReasonCode: v3}, (*packets.Packet).ConnackEncode)
}

// appendDisconnect appends a DISCONNECT of the server, for MQTT 5 clients.
func appendDisconnect(b []byte, code byte) []byte {
	return append(b, typeDisconnect<<4, 2, code, 0)
}

// appendRedirect appends a DISCONNECT that sends an MQTT 5 client to another
// server.
func appendRedirect(b []byte, reference string) []byte {
	props := 1 + 2 + len(reference)
	b = appendVarint(append(b, typeDisconnect<<4), 1+varintLen(props)+props)
	b = appendVarint(append(b, packets.ErrUseAnotherServer.Code), props)
	return appendString(append(b, packets.PropServerReference), reference)
}

// appendConnack appends the CONNACK of a login that succeeded, which tells all
// limits that are not MQTT's defaults (MQTT 5, 3.2.2.3).
func (c *conn) appendConnack(b []byte, k *connect, present bool, told uint16) []byte {
	pk := packets.Packet{ProtocolVersion: c.version, SessionPresent: present}
	if c.version != 5 {
		return encode(b, typeConnack, &pk, (*packets.Packet).ConnackEncode)
	}
	cfg := &c.srv.cfg
	p := &pk.Properties
	p.ReceiveMaximum = uint16(cfg.ReceiveMaximum)
	p.MaximumPacketSize = uint32(cfg.MaximumPacketSize)
	p.TopicAliasMaximum = uint16(c.aliasLimit)
	p.ServerKeepAlive, p.ServerKeepAliveFlag = told, told != 0
	// Retain Available stays at its default where no topic keeps a retained message,
	// too: a client that was told 0 must not set RETAIN, and libraries refuse to
	// publish then, while chats just ignore the flag. Wildcards and subscription
	// identifiers work everywhere.
	p.SharedSubAvailableFlag = !cfg.SharedSubscriptions && !c.plain
	if c.peer.assigned {
		p.AssignedClientID = c.peer.client
	}
	if c.auth != nil {
		p.AuthenticationMethod, p.AuthenticationData = c.auth.method, c.auth.final // [MQTT-4.12.0-5]
	}
	if c.expiry != k.expiry {
		p.SessionExpiryInterval, p.SessionExpiryIntervalFlag = c.expiry, true
	}
	start := len(b)
	if k.responseInfo && !c.plain && c.srv.rpc != nil { // [MQTT-3.1.2-28]
		pk.Mods.AllowResponseInfo = true
		p.ResponseInfo = string(topics.AppendAnswer(nil, c.ident.Actor.UserName, ""))
		if b = encode(b, typeConnack, &pk, (*packets.Packet).ConnackEncode); c.maxPacket == 0 || len(b)-start <= c.maxPacket {
			return b
		}
		b, p.ResponseInfo = b[:start], "" // the one thing that may be left out
	}
	return encode(b, typeConnack, &pk, (*packets.Packet).ConnackEncode)
}

// appendCodes appends a SUBACK or UNSUBACK.
func (c *conn) appendCodes(b []byte, kind byte, id uint16, codes []byte) []byte {
	pk := packets.Packet{ProtocolVersion: c.version, PacketID: id, ReasonCodes: codes}
	if kind == typeSuback {
		return encode(b, kind, &pk, (*packets.Packet).SubackEncode)
	}
	return encode(b, kind, &pk, (*packets.Packet).UnsubackEncode)
}
