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
	*p = delivery.Publish{QoS: first >> 1 & 3, Dup: first&8 != 0}
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
	if c.version == 5 {
		if len(s.b) > 0 && s.b[0] == 0 {
			s.b = s.b[1:]
		} else {
			var ps props
			if code := s.props(inPublish, &ps); code != 0 {
				return code
			}
			if code := c.resolve(p, &ps); code != 0 {
				return code
			}
			if ps.payloadFormat == 1 && !utf8.Valid(s.b) {
				refusal = refusalFormat
			}
			p.Expiry = ps.expiry
			p.Text = string(ps.contentType) == "text/plain"
			response, correlation = ps.responseTopic, ps.correlation
			if ps.has(packets.PropResponseTopic) && !topics.ValidTopicName(response) { // [MQTT-3.3.2-14]
				return protocolError
			}
		}
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
	case isCall(p.Topic):
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

// resolve applies the topic alias of a PUBLISH (MQTT 5, 3.3.2.3.4).
func (c *conn) resolve(p *delivery.Publish, ps *props) byte {
	if !ps.has(packets.PropTopicAlias) {
		return 0
	}
	if ps.alias == 0 || int(ps.alias) > c.srv.cfg.TopicAliasMaximum {
		return codeTopicAlias
	}
	if len(p.Topic) > 0 {
		if c.aliases == nil {
			c.aliases = make(map[uint16][]byte)
		}
		if string(c.aliases[ps.alias]) != string(p.Topic) {
			c.aliases[ps.alias] = append([]byte(nil), p.Topic...)
		}
		return 0
	}
	if p.Topic = c.aliases[ps.alias]; p.Topic == nil {
		return protocolError
	}
	return 0
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
