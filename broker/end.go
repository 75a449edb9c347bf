package broker

import "github.com/mochi-mqtt/server/v2/packets"

// end ends the connection for reason e, of which the first one counts: what is
// appended later is dropped. It may be called from any goroutine, and with locks
// of the engine held.
func (c *conn) end(e ending) {
	c.out.mu.Lock()
	first := c.endLocked(e)
	c.out.mu.Unlock()
	if first {
		c.wire.wake()
	}
}

// endLocked is end with out.mu held, without waking the driver. It tells whether e
// is the reason that counts.
func (c *conn) endLocked(e ending) bool {
	o := &c.out
	if o.ended {
		return false
	}
	o.ended, o.end = true, e
	if e.code != 0 && !e.abrupt && o.started && c.version == 5 && !o.dead {
		c.appendDisconnectLocked(e.code)
	}
	return true
}

// appendDisconnectLocked tells the client why the connection ends, as far as it
// takes such a packet.
func (c *conn) appendDisconnectLocked(code byte) {
	b := c.out.bufferLocked()
	before := len(b.b)
	fits := func() bool { return c.maxPacket == 0 || len(b.b)-before <= c.maxPacket }
	if ref := c.srv.cfg.ServerReference; ref != "" && code == packets.ErrServerShuttingDown.Code {
		if b.b = appendRedirect(b.b, ref); fits() {
			c.out.packets[typeDisconnect]++
			return
		}
		b.b = b.b[:before]
	}
	if b.b = appendDisconnect(b.b, code); !fits() {
		b.b = b.b[:before]
		return
	}
	c.out.packets[typeDisconnect]++
}

// ended tells whether the connection has ended, and why.
func (c *conn) ended() (ending, bool) {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	return c.out.end, c.out.ended
}
