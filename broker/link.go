package broker

import (
	"strconv"

	"github.com/mochi-mqtt/server/v2/packets"

	"tidings/chat"
	"tidings/delivery"
	"tidings/topics"
)

// The engine knows a conn as its Link.
var _ delivery.Link = (*conn)(nil)

// Deliver appends a PUBLISH.
func (c *conn) Deliver(d *delivery.Delivery) delivery.DeliverResult {
	o := &c.out
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended || o.dead {
		return delivery.Closed
	}
	f, fits := c.formLocked(d)
	if !fits {
		return delivery.TooLarge
	}
	if o.pendingLocked() >= c.srv.cfg.OutputLimit {
		o.hungry = true
		return delivery.NoRoom
	}
	b := o.bufferLocked()
	b.b = c.appendDeliveryLocked(b.b, d, f)
	o.packets[typePublish]++
	return delivery.Delivered
}

// Release appends a PUBREL.
func (c *conn) Release(tag uint16) delivery.DeliverResult {
	o := &c.out
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended || o.dead {
		return delivery.Closed
	}
	b := o.bufferLocked()
	b.b = c.appendAck(b.b, typePubrel<<4|2, tag, codeOK)
	o.packets[typePubrel]++
	return delivery.Delivered
}

// Answer appends the acknowledgement of a publish, and the message on
// u/{me}/sent before it where one is due.
func (c *conn) Answer(a *delivery.Answer) {
	o := &c.out
	o.mu.Lock()
	done := a.QoS == 1
	if !o.ended && !o.dead {
		if a.Refusal != nil && a.Refusal.Temporary && c.version != 5 {
			// No acknowledgement of 3.1.1 can say so, and none behind may leave.
			first := c.endLocked(ending{word: "unavailable"})
			o.mu.Unlock()
			if first {
				c.wire.wake()
			}
			return
		}
		b := o.bufferLocked()
		if a.Sent != nil && (a.Refusal != nil || a.Seq > 0) {
			b.b = c.appendSentLocked(b.b, a)
		}
		switch a.QoS {
		case 1:
			b.b = c.appendAnswer(b.b, typePuback<<4, a)
			o.packets[typePuback]++
		case 2:
			b.b = c.appendAnswer(b.b, typePubrec<<4, a)
			o.packets[typePubrec]++
			switch {
			case c.version != 5:
				if done = o.unreleased[a.PacketID]; done {
					o.unreleased[a.PacketID] = false
				}
			case a.Refusal != nil: // the identifier is free again (MQTT 5, 4.3.3)
				done = o.unreleased[a.PacketID]
				delete(o.unreleased, a.PacketID)
			}
		}
	}
	o.mu.Unlock()
	if done {
		c.settled(1)
	}
}

// appendAnswer appends a PUBACK or PUBREC. Its properties are left out where they
// are not wanted or do not fit the client's Maximum Packet Size
// [MQTT-3.4.2-2, MQTT-3.4.2-3].
func (c *conn) appendAnswer(b []byte, first byte, a *delivery.Answer) []byte {
	start := len(b)
	id := a.PacketID
	switch {
	case c.version != 5 || !c.problemInfo || a.Refusal == nil && a.Seq == 0 || a.Refusal != nil && len(a.Refusal.Code) > 64:
	case a.Refusal != nil:
		word := a.Refusal.Code
		b = append(b, first, byte(4+3+len(word)), byte(id>>8), byte(id), publishCode(word), byte(3+len(word)), packets.PropReasonString)
		b = appendString(b, word)
	default:
		b = append(b, first, 0, byte(id>>8), byte(id), codeOK, 0)
		b = append(b, packets.PropUser, 0, 2, 'i', 'd', 0, 36)
		b = a.ID.AppendTo(b)
		b = append(b, packets.PropUser, 0, 3, 's', 'e', 'q')
		b = appendDecimal(b, int64(a.Seq))
		b = append(b, packets.PropUser, 0, 2, 't', 's')
		b = appendDecimal(b, a.Time)
		b[start+1], b[start+5] = byte(len(b)-start-2), byte(len(b)-start-6)
	}
	if n := len(b) - start; n > 0 {
		if c.maxPacket == 0 || n <= c.maxPacket {
			return b
		}
		b = b[:start]
	}
	code := byte(codeOK)
	if a.Refusal != nil {
		code = publishCode(a.Refusal.Code)
	}
	return c.appendAck(b, first, id, code)
}

// appendDecimal appends n as a UTF-8 string of MQTT.
func appendDecimal(b []byte, n int64) []byte {
	at := len(b)
	b = strconv.AppendInt(append(b, 0, 0), n, 10)
	b[at+1] = byte(len(b) - at - 2)
	return b
}

// appendSentLocked appends the message on u/{me}/sent that tells the outcome of a
// publish. It is left out where it does not fit the client's Maximum Packet Size.
func (c *conn) appendSentLocked(b []byte, a *delivery.Answer) []byte {
	payload := getBuffer()
	defer putBuffer(payload)
	payload.b = appendOutcome(payload.b, a)
	var name [80]byte
	d := delivery.Delivery{Topic: topics.Append(name[:0], topics.Sent, c.ident.Actor.UserName), Payload: payload.b, Filters: a.Sent.IDs}
	f, fits := c.formLocked(&d)
	if !fits {
		c.srv.counters.cutLive.Add(1)
		return b
	}
	c.out.packets[typePublish]++
	return c.appendDeliveryLocked(b, &d, f)
}

// appendOutcome appends the payload of a message on u/{me}/sent.
func appendOutcome(b []byte, a *delivery.Answer) []byte {
	to := string(a.Chat)
	if to == "" {
		to = string(a.Topic)
	}
	if r := a.Refusal; r != nil {
		return chat.AppendSentError(b, a.CID, to, r.Code, r.Message)
	}
	return chat.AppendSent(b, a.CID, to, a.Seq, a.ID, a.Time)
}

// Close ends the connection by decision of the engine.
func (c *conn) Close(r delivery.Reason) { c.end(engineEnding(r)) }
