package broker

import (
	"bytes"
	"context"
	"errors"
	"math"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"tidings/delivery"
	"tidings/hooks"
)

// Enhanced authentication (MQTT 5, 4.12):
//
//	client  CONNECT  method, data
//	server  AUTH 0x18  method, data     as often as the method needs
//	client  AUTH 0x18  method, data
//	server  CONNACK    method, data
//
// Until CONNACK the client may send AUTH and DISCONNECT only, and the deadline of
// CONNECT holds. Later it may begin again with AUTH 0x19, beside all other traffic;
// the server's last word is AUTH 0x00 then, or DISCONNECT.

// Reason codes of AUTH (MQTT 5, 3.15.2.1).
const (
	codeContinue       = 0x18
	codeReauthenticate = 0x19
)

// enhanced is the enhanced authentication of a connection. It belongs to the input
// half.
type enhanced struct {
	method string      // that CONNECT has named: holds for all its AUTH packets
	login  hooks.Login // what CONNECT has told
	k      *connect    // waits for the exchange; nil: CONNECT has been answered
	x      exchange    // under way, nil if none is
	began  int64       // coarse time of the renewal under way, in ms
	final  []byte      // for CONNACK
}

// beginAuth takes a CONNECT with an authentication method.
func (c *conn) beginAuth(k *connect) byte {
	if c.plain { // there are no accounts
		c.refuseConnect(k.version, packets.ErrBadAuthenticationMethod.Code)
		return 0
	}
	clear(k.password) // the method decides alone
	k.password = nil
	c.peer = peer{client: k.client, assigned: k.client == ""}
	c.expiry = c.boundExpiry(k.expiry)
	c.auth = &enhanced{method: k.method, k: k}
	c.auth.login = hooks.Login{User: k.user, Client: k.client, Remote: c.remote, Protocol: protocolName(k.version)}
	data := k.authData
	c.job = &job{pool: c.srv.logins, run: func() { c.authenticate(data) }}
	return 0
}

// onAuth takes AUTH.
func (c *conn) onAuth(body []byte) byte {
	a := c.auth
	if a == nil || len(body) == 0 { // [MQTT-4.12.0-7]; 0x00 is the server's to say
		return protocolError
	}
	s := &scanner{b: body}
	code := s.u8()
	var p props
	if reason := s.props(inAuth, &p); reason != 0 {
		return reason
	}
	switch {
	case len(s.b) > 0:
		return malformed
	case !p.has(packets.PropAuthenticationMethod), string(p.authMethod) != a.method: // [MQTT-4.12.0-5, MQTT-4.12.1-1]
		return protocolError
	case code == codeContinue && a.x != nil:
	case code == codeReauthenticate && a.x == nil: // an exchange of CONNECT is under way until CONNACK
		a.began = c.srv.clock.now()
	default: // [MQTT-3.15.2-1]
		return protocolError
	}
	data := bytes.Clone(p.authData)
	c.job = &job{pool: c.srv.logins, run: func() { c.authenticate(data) }}
	return 0
}

// authenticate is the job of each message of the client. It owns the connection's
// input half until it returns.
func (c *conn) authenticate(data []byte) {
	ctx, cancel := context.WithTimeout(c.srv.ctx, c.srv.cfg.RequestTimeout)
	defer cancel()
	a := c.auth
	answer, id, err := c.nextOf(ctx, a, data)
	if _, ended := c.ended(); ended {
		return // the client has gone meanwhile
	}
	if err != nil {
		c.authFailed(err)
		return
	}
	switch {
	case id == nil:
		if a.k != nil {
			c.state = stateAuth
		}
		c.sendAuth(codeContinue, answer) // [MQTT-4.12.0-2]
	case a.k != nil:
		k := a.k
		a.k, a.x, a.final = nil, nil, answer
		c.nameClient(*id)
		c.enter(ctx, k, *id)
		a.final = nil
	default:
		a.x = nil
		c.sendAuth(codeOK, answer)
	}
}

// nextOf takes one step of the exchange, and makes it before the first.
func (c *conn) nextOf(ctx context.Context, a *enhanced, data []byte) (answer []byte, id *delivery.Identity, err error) {
	var as *delivery.Identity
	l := a.login
	if a.k == nil {
		as, l.User = &c.ident, c.ident.Actor.UserName
		if late := time.Duration(c.srv.clock.now()-a.began) * time.Millisecond; late > c.srv.cfg.ConnectTimeout {
			return nil, nil, hooks.ErrBadCredentials
		}
	}
	if a.x == nil {
		if a.x, err = c.srv.engine.Begin(ctx, &l, a.method, as); err != nil {
			return nil, nil, err
		}
	}
	if answer, id, err = a.x.Next(ctx, data); err == nil && len(answer) > math.MaxUint16 {
		err = hooks.ErrUnavailable
	}
	return answer, id, err
}

// authFailed ends a connection whose client has not shown who it is
// [MQTT-4.12.0-1, MQTT-4.12.0-4, MQTT-4.12.1-2].
func (c *conn) authFailed(err error) {
	c.auth.x = nil
	c.srv.loginFailed(c, err)
	if k := c.auth.k; k != nil {
		c.refuseConnect(k.version, loginCode(err))
		return
	}
	e := engineEnding(delivery.ReasonNotAuthorized)
	if errors.Is(err, hooks.ErrBusy) || errors.Is(err, hooks.ErrUnavailable) {
		e = engineEnding(delivery.ReasonUnavailable)
	}
	c.end(e)
	c.state = stateClosed
}

// sendAuth sends AUTH, or ends the connection where the client takes no packet of
// that size [MQTT-3.1.2-24].
func (c *conn) sendAuth(code byte, data []byte) {
	b := c.auth.appendAuth(nil, code, data)
	if c.maxPacket > 0 && len(b) > c.maxPacket {
		if c.state == stateAuth {
			c.refuseConnect(c.version, codePacketTooLarge)
			return
		}
		c.end(ending{word: "answer_too_large", code: codeImplementation})
		c.state = stateClosed
		return
	}
	c.append(typeAuth, nil, func(to []byte) []byte { return append(to, b...) })
	c.Flush()
}

// appendAuth appends an AUTH packet. Without data there is no property for it.
func (a *enhanced) appendAuth(b []byte, code byte, data []byte) []byte {
	props := 1 + 2 + len(a.method)
	if len(data) > 0 {
		props += 1 + 2 + len(data)
	}
	b = appendVarint(append(b, typeAuth<<4), 1+varintLen(props)+props)
	b = appendVarint(append(b, code), props)
	b = appendString(append(b, packets.PropAuthenticationMethod), a.method)
	if len(data) > 0 {
		b = appendString(append(b, packets.PropAuthenticationData), data)
	}
	return b
}
