package mqttest

import "slices"

// grow makes room for a packet of need bytes in all, or at least for some more bytes.
func grow(buf []byte, need int) []byte {
	if need > cap(buf) {
		return slices.Grow(buf, need-len(buf))
	}
	if len(buf) == cap(buf) {
		return slices.Grow(buf, 512)
	}
	return buf
}

// read is the reader goroutine: it handles what buf holds, flushes what the handlers queued, and reads on.
func (c *Client) read(buf []byte) {
	c.finish(c.readLoop(buf))
}

func (c *Client) readLoop(buf []byte) error {
	var scratch struct {
		m Message
		a Ack
	}
	for {
		used, need := 0, 0
		for {
			first, body, size, n, err := frame(buf[used:])
			if err != nil {
				return err
			}
			if size == 0 {
				need = n
				break
			}
			used += size
			if err := c.handle(first, body, &scratch.m, &scratch.a); err != nil {
				return err
			}
		}
		if err := c.out.flush(); err != nil {
			return err
		}
		buf = grow(buf[:copy(buf, buf[used:])], need)
		n, err := c.conn.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if n == 0 && err != nil {
			return err
		}
	}
}

// handle acts on one packet. m and a are scratch of the reader, so that the hot packets allocate nothing.
func (c *Client) handle(first byte, body []byte, m *Message, a *Ack) error {
	if c.opts.OnPacket != nil {
		c.opts.OnPacket(c, first, body)
	}
	switch first >> 4 {
	case PUBLISH:
		if err := parsePublish(m, c.version, first, body); err != nil {
			return err
		}
		return c.deliver(m)
	case PUBACK, PUBREC, PUBCOMP:
		if err := parseAck(a, c.version, first, body); err != nil {
			return err
		}
		return c.acked(a)
	case SUBACK, UNSUBACK:
		id, g, err := parseGranted(c.version, body)
		if err != nil {
			return err
		}
		c.answer(first>>4, id, g)
	case PINGRESP:
		c.answer(PINGRESP, 0, nil)
	case DISCONNECT:
		d, err := parseDisconnect(c.version, body)
		if err != nil {
			return err
		}
		return d
	case PUBREL:
		r := reader{b: body}
		id := r.u16()
		return c.out.add(func(b []byte) []byte { return AppendAck(b, c.version, PUBCOMP, id, 0) })
	}
	return nil
}

func (c *Client) deliver(m *Message) error {
	if c.opts.OnMessage != nil {
		c.opts.OnMessage(c, m)
	} else {
		c.inbox.put(m.Clone())
	}
	if m.QoS == 0 || c.opts.ManualAck {
		return nil
	}
	if m.QoS == 2 {
		return c.out.add(func(b []byte) []byte { return AppendAck(b, c.version, PUBREC, m.ID, 0) })
	}
	return c.QueueAck(m.ID, 0)
}

func (c *Client) acked(a *Ack) error {
	if c.opts.OnAck != nil {
		c.opts.OnAck(c, a)
	}
	if a.Type == PUBREC && a.Code < 0x80 {
		return c.out.add(func(b []byte) []byte { return AppendAck(b, c.version, PUBREL, a.ID, 0) })
	}
	if c.hasWaiters() {
		c.answer(PUBACK, a.ID, a.Clone())
	}
	return nil
}

// finish records why the connection ended and wakes everybody who waits for an answer.
func (c *Client) finish(err error) {
	c.conn.Close()
	c.mu.Lock()
	if c.closing {
		err = ErrClosed
	}
	c.err = err
	c.mu.Unlock()
	c.out.fail(err)
	c.inbox.close(err)
	close(c.done)
}
