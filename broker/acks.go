package broker

import "encoding/binary"

// ack is a PUBACK, PUBREC, PUBREL or PUBCOMP of a client.
type ack struct {
	id   uint16
	code byte
}

// Reason codes that may stand in a client's packets, beside 0x00.
func ackCodeKnown(kind, code byte) bool {
	switch kind {
	case typePubrel, typePubcomp:
		return code == codeOK || code == codeUnknownPacketID
	}
	switch code {
	case codeOK, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99:
		return true
	}
	return false
}

// ack reads an acknowledgement (MQTT 5, 3.4). code is zero, or why the packet is
// not acceptable.
func (c *conn) ack(kind byte, body []byte) (a ack, code byte) {
	if len(body) < 2 {
		return a, malformed
	}
	if a.id = binary.BigEndian.Uint16(body); a.id == 0 {
		return a, malformed
	}
	if len(body) == 2 {
		return a, 0
	}
	if c.version != 5 {
		return a, malformed
	}
	s := scanner{b: body[2:]}
	a.code = s.u8()
	if !ackCodeKnown(kind, a.code) {
		return a, protocolError
	}
	if len(s.b) > 0 {
		var ps props
		if code := s.props(inAck, &ps); code != 0 {
			return a, code
		}
	}
	if len(s.b) > 0 {
		return a, malformed
	}
	return a, 0
}

// onPuback takes the acknowledgement of a delivery.
func (c *conn) onPuback(body []byte) byte {
	a, code := c.ack(typePuback, body)
	if code != 0 {
		return code
	}
	if !c.sess.Ack(a.id, a.code >= 0x80) {
		c.srv.counters.strayAcks.Add(1)
	}
	return 0
}

// onPubrec takes the first acknowledgement of a QoS 2 delivery and answers it with
// PUBREL, whose reason code says whether there is such a delivery. A reason code
// of 0x80 and above ends the delivery without one (MQTT 5, 4.3.3).
func (c *conn) onPubrec(body []byte, r *round) byte {
	a, code := c.ack(typePubrec, body)
	if code != 0 {
		return code
	}
	refused := a.code >= 0x80
	if r.turn.Received(c.sess, a.id, refused) || refused {
		return 0 // Release follows, if anything
	}
	c.srv.counters.strayAcks.Add(1)
	c.append(typePubrel, r, func(b []byte) []byte { return c.appendAck(b, typePubrel<<4|2, a.id, codeUnknownPacketID) })
	return 0
}

// onPubcomp takes the last acknowledgement of a QoS 2 delivery.
func (c *conn) onPubcomp(body []byte) byte {
	a, code := c.ack(typePubcomp, body)
	if code == 0 && !c.sess.Completed(a.id) && a.code == codeOK {
		c.srv.counters.strayAcks.Add(1)
	}
	return code
}

// onPubrel releases the packet identifier of a QoS 2 publish; Complete answers
// [MQTT-4.3.3-11].
func (c *conn) onPubrel(body []byte, r *round) byte {
	a, code := c.ack(typePubrel, body)
	if code != 0 {
		return code
	}
	c.out.mu.Lock()
	counts, here := c.out.unreleased[a.id]
	delete(c.out.unreleased, a.id)
	c.out.mu.Unlock()
	if counts {
		c.settled(1)
	}
	r.turn.Released(c.sess, a.id, here)
	return 0
}

// Complete appends a PUBCOMP, whose reason code says whether there was a publish
// that it completes.
func (c *conn) Complete(packetID uint16, known bool) {
	code := byte(codeOK)
	if !known {
		code = codeUnknownPacketID
	}
	c.append(typePubcomp, nil, func(b []byte) []byte { return c.appendAck(b, typePubcomp<<4, packetID, code) })
}

// appendAck appends an acknowledgement without properties; MQTT 3.1.1 has no
// reason code in it.
func (c *conn) appendAck(b []byte, first byte, id uint16, code byte) []byte {
	if code == codeOK || c.version != 5 {
		return append(b, first, 2, byte(id>>8), byte(id))
	}
	return append(b, first, 3, byte(id>>8), byte(id), code)
}
