package broker

import (
	"encoding/binary"

	"github.com/mochi-mqtt/server/v2/packets"

	"tidings/delivery"
)

// form is how a delivery is encoded on one connection.
type form struct {
	topic     []byte // empty where the alias says it
	alias     uint16 // 0: none
	fresh     bool   // the alias is told by this very packet
	propsLen  int
	remaining int // remaining length
}

// size is the length of the whole packet.
func (f form) size() int { return 1 + varintLen(f.remaining) + f.remaining }

func (c *conn) fits(f form) bool { return c.maxPacket == 0 || f.size() <= c.maxPacket }

// formLocked chooses the form of a delivery, and tells whether there is one that
// the client takes [MQTT-3.1.2-24]. It allocates nothing. The output's lock is
// held: appendDeliveryLocked has to follow before another form is chosen.
func (c *conn) formLocked(d *delivery.Delivery) (form, bool) {
	if alias, known := c.out.aliases.find(d.Topic); alias != 0 {
		f := form{topic: d.Topic, alias: alias, fresh: !known}
		if known {
			f.topic = nil
		}
		if f = c.measure(d, f); c.fits(f) {
			return f, true
		}
	}
	f := c.plainForm(d)
	return f, c.fits(f)
}

// plainForm is the form of a delivery without a topic alias.
func (c *conn) plainForm(d *delivery.Delivery) form { return c.measure(d, form{topic: d.Topic}) }

// measure fills in the lengths.
func (c *conn) measure(d *delivery.Delivery, f form) form {
	f.remaining = 2 + len(f.topic) + len(d.Payload)
	if d.QoS > 0 {
		f.remaining += 2
	}
	if c.version == 5 {
		f.propsLen = deliveryPropsLen(d)
		if f.alias != 0 {
			f.propsLen += aliasLen
		}
		f.remaining += varintLen(f.propsLen) + f.propsLen
	}
	return f
}

func deliveryPropsLen(d *delivery.Delivery) int {
	n := len(d.Props)
	if d.Expiry > 0 {
		n += 1 + 4
	}
	if d.ReplyTo != nil {
		n += 1 + 2 + len(d.ReplyTo)
	}
	for _, id := range d.Filters {
		n += 1 + varintLen(int(id))
	}
	return n
}

// appendDeliveryLocked appends a delivery in a form that formLocked or plainForm
// has chosen.
func (c *conn) appendDeliveryLocked(b []byte, d *delivery.Delivery, f form) []byte {
	first := byte(typePublish<<4) | d.QoS<<1
	if d.Dup {
		first |= 8
	}
	if d.Retain {
		first |= 1
	}
	b = appendVarint(append(b, first), f.remaining)
	b = appendString(b, f.topic)
	if d.QoS > 0 {
		b = binary.BigEndian.AppendUint16(b, d.Tag)
	}
	if c.version == 5 {
		b = appendVarint(b, f.propsLen)
		if f.alias != 0 {
			b = binary.BigEndian.AppendUint16(append(b, packets.PropTopicAlias), f.alias)
		}
		if d.Expiry > 0 {
			b = binary.BigEndian.AppendUint32(append(b, packets.PropMessageExpiryInterval), d.Expiry)
		}
		if d.ReplyTo != nil {
			b = appendString(append(b, packets.PropResponseTopic), d.ReplyTo)
		}
		b = append(b, d.Props...)
		for _, id := range d.Filters {
			b = appendVarint(append(b, packets.PropSubscriptionIdentifier), int(id))
		}
	}
	if f.fresh {
		c.out.aliases.add(f.topic, f.alias)
	}
	return append(b, d.Payload...)
}
