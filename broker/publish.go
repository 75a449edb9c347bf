package broker

import (
	"unicode/utf8"

	"github.com/mochi-mqtt/server/v2/packets"

	"tidings/delivery"
	"tidings/topics"
)

// Refusals that the carrier makes itself.
var (
	refusalTooLarge = &delivery.Refusal{Code: delivery.CodeTooLarge, Message: "the packet is larger than this server takes"}
	refusalFormat   = &delivery.Refusal{Code: delivery.CodeMalformed, Message: "the payload is not UTF-8, which its Payload Format Indicator says it is"}
)

// onPublish takes a PUBLISH (MQTT 5, 3.3). It allocates nothing.
func (c *conn) onPublish(first byte, body []byte, r *round) byte {
	s := scanner{b: body}
	p := &r.publish
	*p = delivery.Publish{QoS: first >> 1 & 3, Dup: first&8 != 0, Retain: first&1 != 0}
	p.Topic = s.text()
	if p.QoS > 0 {
		if p.PacketID = s.u16(); p.PacketID == 0 { // [MQTT-2.2.1-3]
			return malformed
		}
	}
	if s.bad {
		return malformed
	}
	var refusal *delivery.Refusal
	var response, correlation []byte
	switch {
	case c.version != 5:
	case len(s.b) > 0 && s.b[0] == 0: // no properties
		s.b = s.b[1:]
	default:
		var code byte
		if refusal, code = c.publishProperties(&s, p, r); code != 0 {
			return code
		}
		response, correlation = r.ps.responseTopic, r.ps.correlation
	}
	if len(p.Topic) == 0 && c.version == 5 {
		return protocolError // no topic alias, either [MQTT-3.3.2-8]
	}
	if !topics.ValidTopicName(p.Topic) { // [MQTT-3.3.2-2, MQTT-4.7.3-1]
		return codeTopicName
	}
	p.Payload = s.b
	again, code := c.take(p.QoS, p.PacketID)
	switch {
	case code != 0:
		return code
	case refusal != nil:
		r.turn.Answer(c.sess, p.PacketID, p.QoS, refusal)
	case !c.plain && isCall(p.Topic):
		if !again { // a QoS 2 request that was accepted runs once
			refusal = c.call(p, response, correlation)
		}
		r.turn.Answer(c.sess, p.PacketID, p.QoS, refusal)
	default:
		r.turn.Publish(c.sess, p)
	}
	*p = delivery.Publish{}
	return 0
}

// publishProperties takes the properties of a PUBLISH and applies them. The code
// is that of a packet that is not acceptable; a refusal only concerns the message.
func (c *conn) publishProperties(s *scanner, p *delivery.Publish, r *round) (*delivery.Refusal, byte) {
	ps := &r.ps
	*ps = props{}
	if code := s.props(inPublish, ps); code != 0 {
		return nil, code
	}
	if code := c.resolve(p, ps); code != 0 {
		return nil, code
	}
	if ps.has(packets.PropResponseTopic) && !topics.ValidTopicName(ps.responseTopic) { // [MQTT-3.3.2-14]
		return nil, protocolError
	}
	p.Text = string(ps.contentType) == "text/plain"
	p.Expiry = ps.expiry
	if !isChat(p.Topic) {
		p.Props, r.props = ps.through(r.props)
		p.Expiry = ps.lifetime()
	}
	if ps.payloadFormat == 1 && !utf8.Valid(s.b) {
		return refusalFormat, 0
	}
	return nil, 0
}

// lifetime is the Message Expiry Interval, zero for none. An interval of zero is
// the shortest there is, since zero is not that for the engine.
func (p *props) lifetime() uint32 {
	if p.has(packets.PropMessageExpiryInterval) {
		return max(p.expiry, 1)
	}
	return 0
}

// isChat tells whether a topic is one of the chats' and not open to anybody.
func isChat[S string | []byte](topic S) bool {
	return len(topic) > 0 && (topic[0] == 'u' || topic[0] == 'g') && (len(topic) == 1 || topic[1] == '/')
}

// take counts a publish as in flight. again tells that a QoS 2 publish with that
// identifier has been taken on this connection and is not released. The code is
// that of a client that exceeds the Receive Maximum [MQTT-3.3.4-9].
func (c *conn) take(qos byte, id uint16) (again bool, code byte) {
	if qos == 0 {
		return false, 0
	}
	if qos == 2 {
		o := &c.out
		o.mu.Lock()
		if _, again = o.unreleased[id]; !again {
			if o.unreleased == nil {
				o.unreleased = make(map[uint16]bool)
			}
			o.unreleased[id] = true
		}
		o.mu.Unlock()
		if again {
			return true, 0
		}
	}
	if n := c.inflight.Add(1); c.version == 5 && int(n) > c.srv.cfg.ReceiveMaximum {
		return false, codeReceiveMaximum
	}
	return false, 0
}

// mustStop tells whether a PUBLISH has to wait until acknowledgements have left:
// MQTT 3.1.1 clients know no Receive Maximum, so they are not read from instead.
func (c *conn) mustStop(first byte) bool {
	limit := c.srv.cfg.ReceiveMaximum
	c.paused = false
	if c.version == 5 || first&6 == 0 || int(c.inflight.Load()) < limit {
		return false
	}
	c.stopped.Store(true)
	// An answer may have come between.
	c.paused = int(c.inflight.Load()) >= limit || !c.stopped.CompareAndSwap(true, false)
	return c.paused
}

// settled counts n publishes as no longer in flight, and lets the input go on
// when enough of the acknowledgements have left.
func (c *conn) settled(n int32) {
	left := c.inflight.Add(-n)
	if c.stopped.Load() && int(left) <= c.srv.cfg.ReceiveMaximum/2 && c.stopped.CompareAndSwap(true, false) {
		c.wire.wake()
	}
}
