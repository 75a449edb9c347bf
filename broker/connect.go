package broker

import (
	"bytes"
	"math"
	"strings"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"tidings/topics"
)

// connect is a CONNECT that has passed all checks. Nothing in it points into the
// packet.
type connect struct {
	version        byte
	clean          bool
	keepAlive      uint16
	client         string
	user           string
	password       []byte
	method         string // of enhanced authentication, "" if none is wanted
	authData       []byte // the first message of it; nil: none
	expiry         uint32 // session expiry interval in seconds; math.MaxUint32: never
	receiveMaximum uint16 // 0: not given
	aliasMaximum   int    // topic aliases that the server may use
	maxPacket      int    // 0: no limit
	problemInfo    bool
	responseInfo   bool
	will           *will
}

// protocolLevel reads the protocol name and level of a CONNECT. code is what the
// CONNACK says, malformed where there should be none.
func (s *scanner) protocolLevel() (version, code byte) {
	name := s.binary()
	version = s.u8()
	switch {
	case s.bad:
		return 0, malformed
	case string(name) == "MQIsdp" && version == 3:
		return 3, codeUnsupported
	case string(name) != "MQTT":
		return 0, malformed // [MQTT-3.1.2-1]
	case version != 4 && version != 5:
		return version, codeUnsupported // [MQTT-3.1.2-2]
	}
	return version, 0
}

// Bits of the connect flags (MQTT 5, 3.1.2.3).
const (
	flagReserved = 1 << iota
	flagClean
	flagWill
	flagWillQoS0
	flagWillQoS1
	flagWillRetain
	flagPassword
	flagUser
)

// parseConnect reads a CONNECT. The version is known also where the code is not
// zero, as soon as the packet has told it. plain leaves out our own rules for names.
func parseConnect(body []byte, plain bool) (k connect, code byte) {
	s := &scanner{b: body}
	if k.version, code = s.protocolLevel(); code != 0 {
		return k, code
	}
	flags := s.u8()
	k.keepAlive = s.u16()
	k.clean = flags&flagClean != 0
	if s.bad || !connectFlagsValid(k.version, flags) {
		return k, malformed
	}
	if code = k.properties(s); code != 0 {
		return k, code
	}
	k.client = string(s.text())
	if s.bad {
		return k, malformed
	}
	if flags&flagWill != 0 {
		if k.will, code = k.parseWill(flags, s); code != 0 {
			return k, code
		}
	}
	if flags&flagUser != 0 {
		k.user = string(s.text())
	}
	if flags&flagPassword != 0 {
		k.password = bytes.Clone(s.binary())
	}
	if s.bad || len(s.b) > 0 {
		return k, malformed
	}
	return k, k.check(plain)
}

// connectFlagsValid tells whether the flags agree with each other
// [MQTT-3.1.2-3, MQTT-3.1.2-11 … MQTT-3.1.2-15; 3.1.1: MQTT-3.1.2-22].
func connectFlagsValid(version, flags byte) bool {
	switch {
	case flags&flagReserved != 0:
	case flags&flagWill == 0 && flags&(flagWillQoS0|flagWillQoS1|flagWillRetain) != 0:
	case flags&flagWillQoS0 != 0 && flags&flagWillQoS1 != 0:
	case version == 4 && flags&flagUser == 0 && flags&flagPassword != 0:
	default:
		return true
	}
	return false
}

// properties reads the properties of CONNECT, or what their absence means.
func (k *connect) properties(s *scanner) byte {
	k.problemInfo = true
	if k.version != 5 {
		if !k.clean {
			k.expiry = math.MaxUint32
		}
		return 0
	}
	var p props
	if code := s.props(inConnect, &p); code != 0 {
		return code
	}
	if p.has(packets.PropAuthenticationData) && !p.has(packets.PropAuthenticationMethod) {
		return protocolError
	}
	if k.method = string(p.authMethod); k.method == "" && p.has(packets.PropAuthenticationMethod) {
		return packets.ErrBadAuthenticationMethod.Code
	}
	k.authData = bytes.Clone(p.authData)
	k.expiry = p.sessionExpiry
	k.receiveMaximum = p.receiveMaximum
	k.aliasMaximum = int(p.aliasMaximum)
	k.maxPacket = int(min(p.maximumPacket, maxRemaining+5))
	k.problemInfo = !p.has(packets.PropRequestProblemInfo) || p.problemInfo == 1
	k.responseInfo = p.responseInfo == 1
	return 0
}

// check applies the rules for names: MQTT's, and unless plain is set our own. It
// also takes off what some libraries append to the user name.
func (k *connect) check(plain bool) byte {
	if k.client == "" && k.version == 4 && !k.clean { // [MQTT-3.1.3-8]
		return codeClientIdentifier
	}
	if plain {
		return 0
	}
	if k.client != "" && !topics.ValidClient(k.client) {
		return codeClientIdentifier
	}
	k.user, _, _ = strings.Cut(k.user, "?SDK=")
	if !topics.ValidName(k.user) && (k.user != "" || k.method == "") {
		return packets.ErrBadUsernameOrPassword.Code
	}
	return 0
}

// keepAliveOf returns for how long a client may be silent, zero for ever, and what
// an MQTT 5 client is told as Server Keep Alive, zero if its own keep alive holds.
func (c *conn) keepAliveOf(k *connect) (patience time.Duration, told uint16) {
	ka := time.Duration(k.keepAlive) * time.Second
	if k.version == 5 {
		least, most := c.srv.cfg.MinimumKeepAlive, c.srv.cfg.MaximumKeepAlive
		if c.plain {
			least, most = 0, plainKeepAlive
		}
		want := ka
		if want == 0 {
			want = most
		}
		want = min(max(want, least), most)
		if want != ka {
			told = uint16(want / time.Second)
		}
		ka = want
	}
	return ka * 3 / 2, told // [MQTT-3.1.2-22]
}

// onConnect takes CONNECT: what is malformed or not acceptable is answered at
// once, the login is a job.
func (c *conn) onConnect(body []byte) byte {
	k, code := parseConnect(body, c.plain)
	if k.version == 5 || k.version == 4 {
		c.version, c.maxPacket, c.problemInfo = k.version, k.maxPacket, k.problemInfo
		c.out.aliases.limit = min(k.aliasMaximum, maxOutAliases)
	}
	if code == 0 && c.srv.draining.Load() {
		code = packets.ErrUseAnotherServer.Code
	}
	if code != 0 {
		c.refuseConnect(k.version, code)
		return 0
	}
	c.state = stateLogin
	if k.method != "" {
		return c.beginAuth(&k)
	}
	c.job = &job{pool: c.srv.logins, run: func() { c.login(&k) }}
	return 0
}

// refuseConnect answers CONNECT with a CONNACK that says no, if the protocol has
// one for it, and ends the connection.
func (c *conn) refuseConnect(version, code byte) {
	word := connectWord(code)
	c.srv.counters.refuse(word)
	c.out.mu.Lock()
	if !c.out.ended {
		b := c.out.bufferLocked()
		before := len(b.b)
		b.b = appendRefusedConnack(b.b, version, code, c.srv.cfg.ServerReference)
		if c.maxPacket > 0 && len(b.b)-before > c.maxPacket { // [MQTT-3.1.2-24]
			b.b = b.b[:before]
		}
		c.out.packets[typeConnack]++
		c.endLocked(ending{word: word}) // started is not set: no DISCONNECT follows
	}
	c.out.mu.Unlock()
	c.state = stateClosed
	c.wire.wake()
}

// connectWord is the reason of a refused CONNECT in metrics.
func connectWord(code byte) string {
	switch code {
	case malformed:
		return "malformed"
	case protocolError:
		return "protocol_error"
	case codeUnsupported:
		return "unsupported_protocol"
	case codeClientIdentifier:
		return "bad_client_identifier"
	case packets.ErrBadUsernameOrPassword.Code:
		return "bad_credentials"
	case packets.ErrNotAuthorized.Code:
		return "not_authorized"
	case packets.ErrBadAuthenticationMethod.Code:
		return "bad_auth_method"
	case codeTopicName, packets.ErrPayloadFormatInvalid.Code:
		return "bad_will"
	case codePacketTooLarge:
		return "packet_too_large"
	case packets.ErrUseAnotherServer.Code:
		return "shutdown"
	case packets.ErrQuotaExceeded.Code:
		return "quota"
	case packets.ErrConnectionRateExceeded.Code:
		return "busy"
	default:
		return "unavailable"
	}
}
