package broker

import (
	"context"
	"crypto/rand"
	"time"

	"tidings/chat"
	"tidings/delivery"
	"tidings/hooks"
)

// protocolName is a version of the protocol as package hooks calls it.
func protocolName(version byte) string {
	if version == 5 {
		return "mqtt5"
	}
	return "mqtt3.1.1"
}

// login is the job of a CONNECT: it establishes who it is, opens the session and
// answers. It owns the connection's input half until it returns.
func (c *conn) login(k *connect) {
	ctx, cancel := context.WithTimeout(c.srv.ctx, c.srv.cfg.RequestTimeout)
	defer cancel()
	id, err := c.identify(ctx, k)
	clear(k.password)
	if err != nil {
		c.srv.loginFailed(c, err)
		c.refuseConnect(k.version, loginCode(err))
		return
	}
	c.enter(ctx, k, id)
}

// enter lets a client in that has shown who it is.
func (c *conn) enter(ctx context.Context, k *connect, id delivery.Identity) {
	if _, ended := c.ended(); ended {
		return // the client has gone meanwhile
	}
	if code := c.srv.judgeWill(k.will, id); code != 0 {
		c.refuseConnect(k.version, code)
		return
	}
	c.ident = id
	c.expiry = c.boundExpiry(k.expiry)
	if c.tooNarrow(k) {
		c.refuseConnect(k.version, codePacketTooLarge)
		return
	}
	info, err := c.open(ctx, k)
	if err != nil {
		if n := c.srv.openFailures.Add(1); n&(n-1) == 0 { // clients come again: the 1st, 2nd, 4th … is logged
			c.srv.log.Warn("session not opened", "remote", c.remote.String(), "error", err, "count", n)
		}
		c.refuseConnect(k.version, loginCode(err))
		return
	}
	c.welcome(k, info)
	if c.srv.draining.Load() { // it may have come too late to be told with the others
		c.end(engineEnding(delivery.ReasonShutdown))
	}
}

// identify finds out who a connection is, and names a client that has no client
// identifier.
func (c *conn) identify(ctx context.Context, k *connect) (id delivery.Identity, err error) {
	c.peer = peer{client: k.client, assigned: k.client == ""}
	if c.plain {
		if c.peer.assigned {
			c.peer.client = plainAssigned + rand.Text()
		}
		return c.srv.engine.EnterOpen(ctx, c.peer.client, c.remote)
	}
	l := &hooks.Login{User: k.user, Password: k.password, Client: k.client, Remote: c.remote, Protocol: protocolName(k.version)}
	if id, err = c.srv.engine.Login(ctx, l); err == nil {
		c.nameClient(id)
	}
	return id, err
}

// nameClient gives a client without a client identifier the one of its identity,
// or makes one up.
func (c *conn) nameClient(id delivery.Identity) {
	if !c.peer.assigned {
		return
	}
	if c.peer.client = id.Actor.DeviceName; c.peer.client == "" {
		c.peer.client = "guest-" + rand.Text()
	}
}

// boundExpiry applies the bound on session expiry intervals.
func (c *conn) boundExpiry(expiry uint32) uint32 {
	if bound := c.srv.cfg.MaximumSessionExpiry; bound > 0 && !c.plain {
		return uint32(min(int64(expiry), int64(bound/time.Second)))
	}
	return expiry
}

// open opens the session, keeps its state for the next connection, and takes the
// device's waiting will back. After an error no session is open.
func (c *conn) open(ctx context.Context, k *connect) (delivery.OpenInfo, error) {
	o := delivery.OpenOptions{
		Link: c, Clean: k.clean, Window: int(k.receiveMaximum), Temporary: c.expiry == 0, KeepFor: c.keepFor(),
		Protocol: protocolName(k.version), Remote: c.remote,
	}
	sess, info, err := c.srv.engine.Open(ctx, c.ident, o)
	if err != nil {
		return info, err
	}
	c.sess = sess
	c.srv.wills.cancel(c.device())
	if k.clean {
		c.endDelay(info.Carrier)
	}
	if c.will = k.will; c.will != nil {
		c.will.name(c.device(), info.Epoch)
	}
	now := keep(c.will, c.will.delayWithin(c.expiry))
	c.saved = now != nil
	if string(now) != string(info.Carrier) {
		if err := sess.SaveCarrier(ctx, now); err != nil {
			c.sess = nil
			sess.Close(ctx, delivery.CloseHow{Reason: "error"})
			return info, err
		}
	}
	return info, nil
}

// endDelay sends the will that waited for its delay when a clean start ended its
// session, and with that the delay [MQTT-3.1.2-8]. Wills to people are not sent: who
// starts anew is there.
func (c *conn) endDelay(kept []byte) {
	w, err := readKept(kept)
	if err == nil && w != nil && w.delay > 0 && !isChat(w.topic) {
		c.srv.wills.submit(&waitingWill{from: c.ident, will: w}) // what this connection keeps takes its place in the store
	}
}

// tooNarrow tells that the CONNACK is larger than the client takes. It is refused
// then, since it cannot be told the limits [MQTT-3.1.2-24].
func (c *conn) tooNarrow(k *connect) bool {
	if c.maxPacket == 0 {
		return false
	}
	_, told := c.keepAliveOf(k)
	return len(c.appendConnack(nil, k, false, told)) > c.maxPacket
}

// welcome appends CONNACK and starts the session.
func (c *conn) welcome(k *connect, info delivery.OpenInfo) {
	patience, told := c.keepAliveOf(k)
	c.patience.Store(patience.Milliseconds())
	o := &c.out
	o.mu.Lock()
	if o.ended || o.dead {
		o.mu.Unlock()
		return // the session is closed with the connection
	}
	b := o.bufferLocked()
	b.b = c.appendConnack(b.b, k, info.Present, told)
	o.packets[typeConnack]++
	o.started = true
	o.mu.Unlock()
	c.state = stateOpen
	c.srv.admission.authenticated(c)
	c.srv.wheel.expect(c, patience)
	c.Flush()
	c.sess.Start()
	c.Flush()
}

// deviceKey names a device for what the carrier keeps of it beside the engine. A
// guest is known by the client identifier that he was given.
type deviceKey struct {
	user   chat.UserID
	device chat.DeviceID
	guest  string
}

func (c *conn) device() deviceKey {
	k := deviceKey{user: c.ident.Actor.User, device: c.ident.Actor.Device}
	if k.device == 0 {
		k.guest = c.peer.client
	}
	return k
}
