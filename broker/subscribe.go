package broker

import (
	"context"

	"github.com/mochi-mqtt/server/v2/packets"

	"tidings/delivery"
	"tidings/topics"
)

// maxFilters is how many filters of one SUBSCRIBE are considered; those behind are
// refused as over quota.
const maxFilters = 1024

// subscribe is a SUBSCRIBE that has passed all checks.
type subscribe struct {
	id    uint16
	codes []byte // of all filters, in order; those that the engine decides are zero until then
	subs  []delivery.Subscription
	at    []int // where the code of each of subs is
}

// parseSubscribe reads a SUBSCRIBE (MQTT 5, 3.8).
func parseSubscribe(version byte, body []byte) (k subscribe, code byte) {
	s := &scanner{b: body}
	if k.id = s.u16(); k.id == 0 {
		return k, malformed
	}
	var p props
	if version == 5 {
		if code = s.props(inSubscribe, &p); code != 0 {
			return k, code
		}
	}
	if len(s.b) == 0 { // [MQTT-3.8.3-2]
		return k, protocolError
	}
	for len(s.b) > 0 {
		filter := s.text()
		sub, code := subscription(version, s.u8())
		if s.bad || len(filter) == 0 { // [MQTT-4.7.3-1]
			return k, malformed
		}
		if code == 0 && version == 5 && isShared(filter) && sub.noLocal { // [MQTT-3.8.3-4]
			code = protocolError
		}
		if code != 0 {
			return k, code
		}
		switch code := filterCode(filter); {
		case len(k.subs) == maxFilters:
			k.codes = append(k.codes, packets.ErrQuotaExceeded.Code)
			continue
		case code != 0:
			k.codes = append(k.codes, code)
			continue
		}
		k.at, k.codes = append(k.at, len(k.codes)), append(k.codes, 0)
		k.subs = append(k.subs, delivery.Subscription{Filter: string(filter), QoS: sub.qos, ID: p.subscriptionID, NoLocal: sub.noLocal, RetainAsPublished: sub.asPublished, RetainHandling: sub.retainHandling})
	}
	return k, 0
}

func isShared(filter []byte) bool { return len(filter) > 7 && string(filter[:7]) == "$share/" }

// filterCode is the reason code of a filter that is none by the rules of MQTT, zero
// if it is one: wildcards stand for whole levels, and a shared subscription has a
// name and a filter [MQTT-4.7.1-1, MQTT-4.7.1-2, MQTT-4.8.2-1, MQTT-4.8.2-2].
func filterCode(filter []byte) byte {
	ok := topics.ValidFilter(filter)
	if f := string(filter); topics.IsShared(f) {
		_, _, ok = topics.ParseShared(f)
	}
	if !ok {
		return packets.ErrTopicFilterInvalid.Code
	}
	return 0
}

type subscriptionOptions struct {
	qos, retainHandling  byte
	noLocal, asPublished bool
}

// subscription reads the subscription options (MQTT 5, 3.8.3.1)
// [MQTT-3.8.3-5; 3.1.1: MQTT-3.8.3-4].
func subscription(version, b byte) (o subscriptionOptions, code byte) {
	reserved := byte(0xc0)
	if version != 5 {
		reserved = 0xfc
	}
	o = subscriptionOptions{qos: b & 3, noLocal: b&4 != 0, asPublished: b&8 != 0, retainHandling: b >> 4 & 3}
	switch {
	case b&reserved != 0:
		return o, malformed
	case o.qos == 3:
		return o, malformed
	case o.retainHandling == 3:
		return o, protocolError
	}
	return o, 0
}

// onSubscribe takes SUBSCRIBE; the engine's part is a job.
func (c *conn) onSubscribe(body []byte) byte {
	k, code := parseSubscribe(c.version, body)
	if code == 0 {
		c.sess.Expect(k.subs)
		c.job = &job{pool: c.srv.requests, run: func() { c.subscribe(&k) }}
	}
	return code
}

// subscribe asks the engine and answers with SUBACK. An error of the engine leaves
// open whether the subscriptions are durable: no answer may say either.
func (c *conn) subscribe(k *subscribe) {
	ctx, cancel := context.WithTimeout(c.srv.ctx, c.srv.cfg.RequestTimeout)
	defer cancel()
	answers, err := c.sess.Subscribe(ctx, k.subs)
	if err != nil || len(answers) != len(k.subs) {
		c.requestFailed("subscribe", err)
		return
	}
	for i, a := range answers {
		k.codes[k.at[i]] = a.QoS
		if a.Refusal != nil {
			k.codes[k.at[i]] = subscribeCode(a.Refusal.Code)
		}
	}
	if c.version != 5 {
		for i, code := range k.codes {
			if code >= 0x80 {
				k.codes[i] = packets.ErrUnspecifiedError.Code // the only one (3.1.1, 3.9.3)
			}
		}
	}
	c.append(typeSuback, nil, func(b []byte) []byte { return c.appendCodes(b, typeSuback, k.id, k.codes) })
	c.sess.Feed()
	c.Flush()
}

// requestFailed ends a connection whose request could not be answered.
func (c *conn) requestFailed(what string, err error) {
	c.log().Warn("request failed", "request", what, "error", err)
	c.end(ending{word: "unavailable", code: packets.ErrServerBusy.Code})
}

// onUnsubscribe takes UNSUBSCRIBE (MQTT 5, 3.10); the engine's part is a job.
func (c *conn) onUnsubscribe(body []byte) byte {
	s := &scanner{b: body}
	id := s.u16()
	if id == 0 {
		return malformed
	}
	if c.version == 5 {
		var p props
		if code := s.props(inUnsubscribe, &p); code != 0 {
			return code
		}
	}
	if len(s.b) == 0 { // [MQTT-3.10.3-2]
		return protocolError
	}
	var filters []string
	for len(s.b) > 0 {
		filter := s.text()
		if s.bad || len(filter) == 0 {
			return malformed
		}
		filters = append(filters, string(filter))
	}
	c.job = &job{pool: c.srv.requests, run: func() { c.unsubscribe(id, filters) }}
	return 0
}

func (c *conn) unsubscribe(id uint16, filters []string) {
	ctx, cancel := context.WithTimeout(c.srv.ctx, c.srv.cfg.RequestTimeout)
	defer cancel()
	there, err := c.sess.Unsubscribe(ctx, filters)
	if err != nil || len(there) != len(filters) {
		c.requestFailed("unsubscribe", err)
		return
	}
	codes := make([]byte, len(there))
	for i, ok := range there {
		if !ok {
			codes[i] = codeNoSubscription
		}
	}
	c.append(typeUnsuback, nil, func(b []byte) []byte { return c.appendCodes(b, typeUnsuback, id, codes) })
	c.Flush()
}
