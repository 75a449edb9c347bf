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
	if c.sess != nil { // else the client has given up its authentication
		c.sess.Leave()
	}
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
		c.expiry = c.boundExpiry(p.sessionExpiry)
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
	// Before Close, for which the device's next connection waits.
	last := c.lastWill(ctx, e)
	if e.word != "taken_over" && (last != nil || c.saved) { // else the next connection keeps its own
		if err := c.sess.SaveCarrier(ctx, last); err != nil {
			c.log().Warn("session state not saved", "error", err)
		}
	}
	c.sess.Close(ctx, delivery.CloseHow{
		Orderly: e.orderly, Reason: e.word, Forget: c.expiry == 0, KeepFor: c.keepFor(), LastIn: c.srv.clock.wallOf(c.lastIn.Load()),
	})
}

// keepFor is how long the session outlives its connection; zero: for ever.
func (c *conn) keepFor() time.Duration {
	if c.expiry == math.MaxUint32 {
		return 0
	}
	return time.Duration(c.expiry) * time.Second
}

// lastWill does with the connection's will what its end asks for, and returns what
// is to be kept of it: the will stays in the store until it has been sent, so that
// no crash in between loses it.
func (c *conn) lastWill(ctx context.Context, e ending) []byte {
	if c.will == nil {
		return nil
	}
	delay := c.will.delayWithin(c.expiry)
	kept := keep(c.will, delay)
	switch {
	case e.word == "shutdown": // no reason for a will: the devices come back to the next start, or do not
		return kept
	case e.word == "taken_over" && (isChat(c.will.topic) || delay > 0):
		// A device that has come back has nothing to say to people; elsewhere it has come
		// within the delay, and a clean start sends what is kept.
		return nil
	case delay == 0:
		if c.srv.post(ctx, c.ident, c.will) {
			return nil
		}
		return kept
	}
	m := &waitingWill{device: c.device(), from: c.ident, will: c.will, kept: kept}
	if c.device().device == 0 {
		m.kept = nil // nothing is kept for guests
	}
	if !c.srv.wills.wait(m, time.Duration(delay)*time.Second) {
		c.srv.counters.willsHurried.Add(1)
		if c.srv.post(ctx, c.ident, c.will) {
			return nil
		}
	}
	return kept
}
