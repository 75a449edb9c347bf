package broker

import (
	"context"
	"math"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"tidings/delivery"
)

// onDisconnect takes the client's DISCONNECT (MQTT 5, 3.14).
func (c *conn) onDisconnect(body []byte) byte {
	code, reason := byte(codeOK), byte(0)
	if c.version == 5 && len(body) > 0 {
		code, reason = c.disconnectV5(body)
	} else if len(body) > 0 {
		reason = malformed
	}
	if reason != 0 {
		return reason
	}
	e := ending{word: "client", orderly: true, abrupt: true}
	if code == codeOK {
		c.will = nil // [MQTT-3.14.4-3]
	} else {
		e.word = "client_error"
	}
	c.sess.Leave()
	c.end(e)
	c.state = stateClosed
	return 0
}

// disconnectCodes are the reason codes that a client may give (MQTT 5, 3.14.2.1).
var disconnectCodes = [256]bool{
	codeOK: true, codeDisconnectWill: true, 0x80: true, 0x81: true, 0x82: true, 0x83: true,
	0x90: true, 0x93: true, 0x94: true, 0x95: true, 0x96: true, 0x97: true, 0x98: true, 0x99: true,
}

func (c *conn) disconnectV5(body []byte) (code, reason byte) {
	s := &scanner{b: body}
	if code = s.u8(); !disconnectCodes[code] {
		return code, protocolError
	}
	if len(s.b) == 0 {
		return code, 0
	}
	var p props
	if reason = s.props(inDisconnect, &p); reason != 0 {
		return code, reason
	}
	if len(s.b) > 0 {
		return code, malformed
	}
	if p.has(packets.PropSessionExpiryInterval) {
		if c.expiry == 0 && p.sessionExpiry != 0 { // (MQTT 5, 3.14.2.2.2)
			return code, protocolError
		}
		c.expiry = c.srv.boundExpiry(p.sessionExpiry)
	}
	return code, 0
}

// finish closes the session of a connection that has ended, in a goroutine of its
// own. The driver calls it once, when all that the connection has given to a turn
// is committed and no job of it runs. Nothing of the input half is used
// afterwards.
func (c *conn) finish() {
	if c.finishing {
		return
	}
	c.finishing = true
	c.job = nil // of what came behind the end; none runs
	c.release()
	e, _ := c.ended()
	c.srv.counters.close(e.word)
	if c.sess == nil {
		return
	}
	c.srv.spawn(func() { c.closeSession(e) })
}

func (c *conn) closeSession(e ending) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.srv.ctx), c.srv.cfg.RequestTimeout)
	defer cancel()
	var last []byte // of the will, for the device's next connection
	if c.will != nil {
		// A device that has come back, and a server that goes, are no reason for a will.
		if e.word != "taken_over" && e.word != "shutdown" {
			// Before Close: the device's next connection, which takes it back, waits for that.
			delay := min(c.will.delay, c.expiry) // the end of the session ends the delay [MQTT-3.1.3-9]
			c.srv.wills.send(c.device(), c.ident, c.will, time.Duration(delay)*time.Second)
		}
		if e.word == "shutdown" || c.will.delay > 0 {
			last = keep(c.will)
		}
	}
	if e.word != "taken_over" && (last != nil || c.saved) {
		if err := c.sess.SaveCarrier(ctx, last); err != nil {
			c.log().Warn("session state not saved", "error", err)
		}
	}
	how := delivery.CloseHow{Orderly: e.orderly, Reason: e.word, Forget: c.expiry == 0, LastIn: c.srv.clock.wallOf(c.lastIn.Load())}
	if c.expiry != math.MaxUint32 {
		how.KeepFor = time.Duration(c.expiry) * time.Second
	}
	c.sess.Close(ctx, how)
}
