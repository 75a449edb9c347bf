package broker

import (
	"bytes"
	"encoding/json"

	"github.com/mochi-mqtt/server/v2/packets"

	"tidings/delivery"
	"tidings/topics"
)

// send delivers an answer with QoS 0, if the connection subscribes to its topic
// and has room. It is live only: who missed it asks again.
func (r *reply) send(payload []byte) {
	c := r.c
	d := delivery.Delivery{Topic: []byte(r.topic), Payload: payload}
	me := c.ident.Actor.UserName
	rid := r.topic[len(topics.AppendAnswer(nil, me, "")):]
	matched := false
	for _, sub := range c.sess.Subscriptions() {
		// A filter of open topics selects no answers, whatever it matches.
		if f, err := topics.ParseFilter(sub.Filter, me); err == nil && f.SelectsAnswer(rid) {
			matched = true
			if sub.ID != 0 {
				d.Filters = append(d.Filters, sub.ID)
			}
		}
	}
	if !matched {
		return
	}
	if !c.deliverAnswer(&d, r.correlation) {
		c.srv.counters.cutLive.Add(1)
	}
	c.Flush()
}

// answerRoom is up to how many times the output limit answers find room: deliveries,
// which come again, may fill the output once, and whoever asked meanwhile would
// wait in vain.
const answerRoom = 2

// deliverAnswer appends a PUBLISH with Correlation Data; false if it was not.
func (c *conn) deliverAnswer(d *delivery.Delivery, correlation []byte) bool {
	o := &c.out
	o.mu.Lock()
	defer o.mu.Unlock()
	d.Props = nil
	if c.version == 5 && len(correlation) > 0 {
		d.Props = appendString([]byte{packets.PropCorrelationData}, correlation)
	}
	f := c.plainForm(d) // answers have a topic each, for which an alias would be wasted
	if o.ended || o.dead || !c.fits(f) || o.pendingLocked() >= answerRoom*c.srv.cfg.OutputLimit {
		return false
	}
	b := o.bufferLocked()
	o.packets[typePublish]++
	b.b = c.appendDeliveryLocked(b.b, d, f)
	return true
}

// splitRID takes the rid out of a request: params is the JSON object without it.
// An empty payload is an empty object. It does not look into the values, but for
// their syntax. It runs where the packets of many connections are read, so that
// it gives up on what takes long: an object of many keys.
func splitRID(payload []byte) (params []byte, rid string, ok bool) {
	if len(bytes.TrimSpace(payload)) == 0 {
		return []byte("{}"), "", true
	}
	dec := json.NewDecoder(bytes.NewReader(payload))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, "", false
	}
	params = append(make([]byte, 0, len(payload)), '{')
	seen := false
	for n := 0; dec.More(); n++ {
		if n == maxParams {
			return nil, "", false
		}
		t, err := dec.Token()
		key, isKey := t.(string)
		var value json.RawMessage
		if err != nil || !isKey || dec.Decode(&value) != nil {
			return nil, "", false
		}
		if key == "rid" {
			if seen || json.Unmarshal(value, &rid) != nil || rid == "" {
				return nil, "", false
			}
			seen = true
			continue
		}
		if len(params) > 1 {
			params = append(params, ',')
		}
		params = append(appendJSON(params, key), ':')
		params = append(params, value...)
	}
	if t, err := dec.Token(); err != nil || t != json.Delim('}') {
		return nil, "", false
	}
	if _, err := dec.Token(); err == nil || dec.InputOffset() != int64(len(bytes.TrimRight(payload, " \t\r\n"))) && dec.More() {
		return nil, "", false
	}
	return append(params, '}'), rid, true
}
