package broker

import (
	"bytes"

	"github.com/mochi-mqtt/server/v2/packets"
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
// of that level has none for code.
func appendRefusedConnack(b []byte, version, code byte) []byte {
	if version >= 5 { // levels above 5 are answered as MQTT 5 would be (3.1.2.2)
		return encode(b, typeConnack, &packets.Packet{ProtocolVersion: 5, ReasonCode: code}, (*packets.Packet).ConnackEncode)
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

// appendConnack appends the CONNACK of a login that succeeded, which tells all
// limits (MQTT 5, 3.2.2.3).
func (c *conn) appendConnack(b []byte, k *connect, present bool, told uint16, expiry uint32) []byte {
	pk := packets.Packet{ProtocolVersion: c.version, SessionPresent: present}
	if c.version == 5 {
		cfg := &c.srv.cfg
		pk.Properties = packets.Properties{
			ReceiveMaximum:           uint16(cfg.ReceiveMaximum),
			MaximumPacketSize:        uint32(cfg.MaximumPacketSize),
			TopicAliasMaximum:        uint16(cfg.TopicAliasMaximum),
			RetainAvailable:          1,
			RetainAvailableFlag:      true,
			WildcardSubAvailable:     1,
			WildcardSubAvailableFlag: true,
			SubIDAvailable:           1,
			SubIDAvailableFlag:       true,
			SharedSubAvailable:       0,
			SharedSubAvailableFlag:   true,
			ServerKeepAlive:          told,
			ServerKeepAliveFlag:      told != 0,
		}
		if c.peer.assigned {
			pk.Properties.AssignedClientID = c.peer.client
		}
		if expiry != k.expiry {
			pk.Properties.SessionExpiryInterval, pk.Properties.SessionExpiryIntervalFlag = expiry, true
		}
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
