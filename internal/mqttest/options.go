package mqttest

import (
	"net"
	"time"
)

// Options describe a connection. The zero value of each field means what its comment says.
type Options struct {
	// Addr is the server's TCP address. Conn, where set, is used instead: TLS, WebSocket or an in-memory pipe.
	Addr string
	Conn net.Conn

	Version  byte // V5 (also for 0) or V311
	ClientID string
	User     string
	Password string
	Clean    bool  // clean start (MQTT 5) or clean session (3.1.1)
	Will     *Will // nil: none
	Props    *Properties

	KeepAlive      uint16        // seconds; 0 switches it off. The client never pings by itself.
	SessionExpiry  uint32        // seconds; 0 ends the session with the connection. MQTT 5 only.
	ReceiveMaximum uint16        // 0: not sent, which means 65,535. MQTT 5 only.
	MaxPacketSize  uint32        // 0: not sent, no limit. MQTT 5 only.
	NoProblemInfo  bool          // sends Request Problem Information 0. MQTT 5 only.
	ConnectTimeout time.Duration // for TCP connect and CONNACK; 0: 10 s
	ReadBuffer     int           // bytes, grows for larger packets; 0: 4 KiB
	OutputLimit    int           // bytes; 0: 1 MiB
	ManualAck      bool          // no PUBACK is sent unless Ack is called
	LingerReset    bool          // Drop sends RST instead of FIN: what is in the kernel's buffers is lost, too

	// OnMessage gets each delivery. The PUBACK, unless ManualAck is set, is queued after it returns. nil: Next takes them.
	OnMessage func(c *Client, m *Message)
	// OnAck gets each PUBACK, PUBREC and PUBCOMP. PUBREL follows by itself after a PUBREC that is no refusal.
	OnAck func(c *Client, a *Ack)
	// OnPacket, where set, sees every packet first; body is what follows the fixed header.
	OnPacket func(c *Client, first byte, body []byte)
}

func (o *Options) version() byte {
	if o.Version == 0 {
		return V5
	}
	return o.Version
}

func (o *Options) connectTimeout() time.Duration {
	if o.ConnectTimeout == 0 {
		return 10 * time.Second
	}
	return o.ConnectTimeout
}

// connectProperties merges the fields that are properties on the wire into a copy of Props.
func (o *Options) connectProperties() *Properties {
	p := &Properties{}
	if o.Props != nil {
		for id, n := range o.Props.Numbers {
			p.SetNumber(id, n)
		}
		for id, s := range o.Props.Strings {
			p.SetString(id, s)
		}
		p.User = append(p.User, o.Props.User...)
	}
	if o.SessionExpiry > 0 {
		p.SetNumber(PropSessionExpiry, o.SessionExpiry)
	}
	if o.ReceiveMaximum > 0 {
		p.SetNumber(PropReceiveMaximum, uint32(o.ReceiveMaximum))
	}
	if o.MaxPacketSize > 0 {
		p.SetNumber(PropMaximumPacketSize, o.MaxPacketSize)
	}
	if o.NoProblemInfo {
		p.SetNumber(PropRequestProblemInfo, 0)
	}
	return p
}
