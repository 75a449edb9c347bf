package broker

import (
	"github.com/mochi-mqtt/server/v2/packets"

	"tidings/topics"
)

// MQTT control packet types.
const (
	typeConnect     = 1
	typeConnack     = 2
	typePublish     = 3
	typePuback      = 4
	typePubrec      = 5
	typePubrel      = 6
	typePubcomp     = 7
	typeSubscribe   = 8
	typeSuback      = 9
	typeUnsubscribe = 10
	typeUnsuback    = 11
	typePingreq     = 12
	typePingresp    = 13
	typeDisconnect  = 14
	typeAuth        = 15
)

const (
	// maxRemaining is the largest remaining length that four bytes can say.
	maxRemaining = 268_435_455

	// maxConnect is the largest packet, header included, before the login.
	maxConnect = 64 << 10

	// maxPlainConnect is the same where the five fields of CONNECT may be as long as
	// MQTT has them.
	maxPlainConnect = 6 * 64 << 10

	// maxSkipped is the largest PUBLISH that an MQTT 3.1.1 connection survives.
	maxSkipped = 16 << 20
)

// headerFlags are the low four bits of the first byte, fixed for all types but
// PUBLISH (MQTT 5, 2.1.3).
var headerFlags = [16]byte{typePubrel: 2, typeSubscribe: 2, typeUnsubscribe: 2}

// fromClient has a bit for each type that a client may send.
const fromClient = 1<<typeConnect | 1<<typePublish | 1<<typePuback | 1<<typePubrec | 1<<typePubrel | 1<<typePubcomp |
	1<<typeSubscribe | 1<<typeUnsubscribe | 1<<typePingreq | 1<<typeDisconnect | 1<<typeAuth

// skip is a packet that is read past.
type skip struct {
	left     int // bytes
	packetID uint16
	qos      byte
}

// missing is how many bytes behind b are needed before consume can do more with
// it. At least 1.
func (c *conn) missing(b []byte) int {
	if len(b) < 2 {
		return 2 - len(b)
	}
	n, size := readVarint(b[1:])
	if size <= 0 {
		return 1
	}
	return max(1, min(1+size+n, c.sizeLimit())-len(b))
}

// sizeLimit is the largest packet that is taken in the connection's state.
func (c *conn) sizeLimit() int {
	if c.state == stateOpen {
		return c.srv.cfg.MaximumPacketSize
	}
	if c.plain {
		return maxPlainConnect
	}
	return maxConnect
}

// consume handles the whole packets at the start of b and returns how many bytes
// it is done with. It stops early when the input has to rest.
func (c *conn) consume(b []byte, r *round) (used int) {
	for !c.resting() && used < len(b) {
		n := c.consumeOne(b[used:], r)
		if n == 0 {
			break
		}
		used += n
	}
	if c.state == stateClosed {
		return len(b)
	}
	return used
}

// consumeOne handles the packet at the start of b. It returns 0 if b holds too
// little of it, or if it has to wait.
func (c *conn) consumeOne(b []byte, r *round) int {
	if c.skipping.left > 0 {
		return c.skipOn(b, r)
	}
	first := b[0]
	if code := c.checkFirst(first); code != 0 {
		c.fail(code)
		return len(b)
	}
	n, size := readVarint(b[1:])
	switch {
	case size < 0:
		c.fail(malformed)
		return len(b)
	case size == 0:
		return 0
	}
	total := 1 + size + n
	if total > c.sizeLimit() {
		return c.tooLarge(first, b, total, r)
	}
	if len(b) < total {
		return 0
	}
	if first>>4 == typePublish && c.mustStop(first) {
		return 0
	}
	r.packets[first>>4]++
	if code := c.packet(first, b[1+size:total], r); code != 0 {
		c.fail(code)
		return len(b)
	}
	return total
}

// checkFirst checks the first byte of a packet: type and flags
// [MQTT-2.1.3-1, MQTT-3.1.0-1, MQTT-3.1.0-2].
func (c *conn) checkFirst(first byte) byte {
	kind := first >> 4
	switch {
	case c.state == stateNew && kind != typeConnect, c.state != stateNew && kind == typeConnect:
		return protocolError
	case c.state == stateAuth && kind != typeAuth && kind != typeDisconnect: // [MQTT-3.1.2-30]
		return protocolError
	case fromClient&(1<<kind) == 0, kind == typeAuth && c.version != 5:
		return protocolError
	case kind != typePublish && first&15 != headerFlags[kind]:
		return malformed
	case kind == typePublish && (first&6 == 6 || first&14 == 8): // [MQTT-3.3.1-4, MQTT-3.3.1-2]
		return malformed
	}
	return 0
}

// fail ends the connection for a packet that is not acceptable.
func (c *conn) fail(code byte) {
	if c.state == stateAuth { // CONNECT has not been answered
		c.refuseConnect(c.version, code)
		return
	}
	word := "protocol_error"
	switch code {
	case malformed:
		word = "malformed"
	case codePacketTooLarge:
		word = "packet_too_large"
	case codeReceiveMaximum:
		word = "receive_maximum"
	case packets.ErrQuotaExceeded.Code:
		word = "quota"
	}
	c.end(ending{word: word, code: code})
	c.state = stateClosed
}

// tooLarge handles a packet over the size limit. MQTT 3.1.1 clients could not be
// told of the limit: their PUBLISH is read past and answered.
func (c *conn) tooLarge(first byte, b []byte, total int, r *round) int {
	if c.state != stateOpen || c.version == 5 || first>>4 != typePublish || total > maxSkipped {
		c.fail(codePacketTooLarge)
		return len(b)
	}
	_, size := readVarint(b[1:])
	head := 1 + size + 2
	if len(b) < head {
		return 0
	}
	head += int(b[head-2])<<8 | int(b[head-1])
	if first&6 != 0 {
		head += 2
	}
	if head > total {
		c.fail(malformed)
		return len(b)
	}
	if len(b) < head || c.mustStop(first) {
		return 0
	}
	r.packets[typePublish]++
	s := scanner{b: b[1+size : head]}
	topic := s.text()
	c.skipping = skip{left: total, qos: first >> 1 & 3}
	if c.skipping.qos > 0 {
		c.skipping.packetID = s.u16()
		s.bad = s.bad || c.skipping.packetID == 0
	}
	if s.bad || !topics.ValidTopicName(topic) {
		c.fail(malformed)
		return len(b)
	}
	return c.skipOn(b, r)
}

// skipOn reads past a packet, and answers it at its end.
func (c *conn) skipOn(b []byte, r *round) int {
	n := min(len(b), c.skipping.left)
	if c.skipping.left -= n; c.skipping.left == 0 {
		s := c.skipping
		c.skipping = skip{}
		c.take(s.qos, s.packetID)
		r.turn.Answer(c.sess, s.packetID, s.qos, refusalTooLarge)
	}
	return n
}

// packet handles one whole packet. The code is zero or why it is not acceptable.
func (c *conn) packet(first byte, body []byte, r *round) byte {
	switch first >> 4 {
	case typePublish:
		return c.onPublish(first, body, r)
	case typePuback:
		return c.onPuback(body)
	case typePubrec:
		return c.onPubrec(body, r)
	case typePubrel:
		return c.onPubrel(body, r)
	case typePubcomp:
		return c.onPubcomp(body)
	case typeConnect:
		return c.onConnect(body)
	case typeSubscribe:
		return c.onSubscribe(body)
	case typeUnsubscribe:
		return c.onUnsubscribe(body)
	case typePingreq:
		if len(body) != 0 {
			return malformed
		}
		c.append(typePingresp, r, func(b []byte) []byte { return append(b, typePingresp<<4, 0) })
		return 0
	case typeDisconnect:
		return c.onDisconnect(body)
	case typeAuth:
		return c.onAuth(body)
	}
	return protocolError
}
