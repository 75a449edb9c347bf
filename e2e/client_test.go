package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tidings/internal/mqttest"
	"tidings/internal/mqttest/server"
)

// client is a connection of one device. It belongs to one goroutine.
type client struct {
	*mqttest.Client
	t       testing.TB
	login   server.Login
	waiting []*message // came while something else was waited for
	rid     int
}

// message is a delivery. Envelope is filled in where the payload is a JSON object.
type message struct {
	*mqttest.Message
	topic string
	envelope
}

// envelope is what the server publishes about a message, as docs/protocol.md describes it.
type envelope struct {
	ID      string          `json:"id"`
	Chat    string          `json:"chat"`
	Seq     uint64          `json:"seq"`
	From    string          `json:"from"`
	Device  string          `json:"device"`
	TS      int64           `json:"ts"`
	Type    string          `json:"type"`
	CID     string          `json:"cid"`
	Re      json.RawMessage `json:"re"`
	Expires int64           `json:"expires"`
	Stub    bool            `json:"stub"`
	Cut     bool            `json:"cut"`
	Body    json.RawMessage `json:"body"`
}

// text is the body of a text message.
func (e *envelope) text() string {
	var s string
	if json.Unmarshal(e.Body, &s) != nil {
		return string(e.Body)
	}
	return s
}

// fields decodes a payload.
func (m *message) fields() map[string]any {
	var f map[string]any
	if err := json.Unmarshal(m.Payload, &f); err != nil {
		return map[string]any{"payload": string(m.Payload)}
	}
	return f
}

func (c *client) me() string { return "u/" + c.login.User }

func (c *client) context() (context.Context, context.CancelFunc) {
	return context.WithTimeout(c.t.Context(), patience)
}

// next takes the next delivery off the wire.
func (c *client) next() (*message, error) {
	ctx, cancel := c.context()
	defer cancel()
	m, err := c.Next(ctx)
	if err != nil {
		return nil, err
	}
	out := &message{Message: m, topic: string(m.Topic)}
	if len(m.Payload) > 0 && m.Payload[0] == '{' {
		// What does not decode has no seq, which the tests see.
		_ = json.Unmarshal(m.Payload, &out.envelope)
	}
	return out, nil
}

// await returns the first delivery that matches and leaves the others to later calls.
func (c *client) await(what string, match func(*message) bool) *message {
	c.t.Helper()
	for i, m := range c.waiting {
		if match(m) {
			c.waiting = append(c.waiting[:i:i], c.waiting[i+1:]...)
			return m
		}
	}
	for {
		m, err := c.next()
		if err != nil {
			c.t.Fatalf("%s %s waits for %s: %v; waiting: %s", c.login.User, c.login.Device, what, err, c.summary())
		}
		if match(m) {
			return m
		}
		c.waiting = append(c.waiting, m)
	}
}

// summary tells what has come and was not asked for, for failures.
func (c *client) summary() string {
	out := fmt.Sprintf("%d deliveries", len(c.waiting))
	for _, m := range c.waiting[:min(len(c.waiting), 5)] {
		out += fmt.Sprintf("\n\t%s %s", m.topic, m.Payload[:min(len(m.Payload), 200)])
	}
	return out
}

// on returns the next delivery on a topic.
func (c *client) on(topic string) *message {
	c.t.Helper()
	return c.await("a delivery on "+topic, func(m *message) bool { return m.topic == topic })
}

// texts checks the texts of the next deliveries on a topic.
func (c *client) texts(topic string, want ...string) {
	c.t.Helper()
	var got []string
	for range want {
		m := c.on(topic)
		got = append(got, m.text())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		c.t.Fatalf("%s %s: texts on %s (-want +got):\n%s", c.login.User, c.login.Device, topic, diff)
	}
}

// subscribe subscribes at QoS 1; every filter has to be granted.
func (c *client) subscribe(filters ...string) {
	c.t.Helper()
	for i, code := range c.subscribeCodes(filters...) {
		if code != 1 {
			c.t.Fatalf("%s %s: SUBACK %#02x for %q, want 0x01", c.login.User, c.login.Device, code, filters[i])
		}
	}
}

func (c *client) subscribeCodes(filters ...string) []byte {
	c.t.Helper()
	ctx, cancel := c.context()
	defer cancel()
	g, err := c.Subscribe(ctx, filters...)
	if err != nil {
		c.t.Fatalf("%s %s: subscribe %q: %v", c.login.User, c.login.Device, filters, err)
	}
	return g.Codes
}

// inbox subscribes to all chats of the device's user.
func (c *client) inbox() {
	c.t.Helper()
	c.subscribe(c.me()+"/#", "g/+/#")
}

// stored is what a PUBACK of MQTT 5 tells about a message.
type stored struct {
	id  string
	seq uint64
	ts  int64
}

// publish sends a message at QoS 1 and returns its acknowledgement.
func (c *client) publish(p mqttest.Publish) *mqttest.Ack {
	c.t.Helper()
	ctx, cancel := c.context()
	defer cancel()
	if p.QoS == 0 {
		p.QoS = 1
	}
	ack, err := c.PublishWait(ctx, &p)
	if err != nil {
		c.t.Fatalf("%s %s: publish to %s: %v", c.login.User, c.login.Device, p.Topic, err)
	}
	return ack
}

// send sends a message that has to be stored.
func (c *client) send(topic, payload string) stored {
	c.t.Helper()
	return c.sendAs(mqttest.Publish{Topic: topic, Payload: []byte(payload)})
}

// sendAs sends a publish that has to be stored.
func (c *client) sendAs(p mqttest.Publish) stored {
	c.t.Helper()
	ack := c.publish(p)
	s := c.answer(ack)
	if ack.Code != 0 {
		c.t.Fatalf("%s %s: publish to %s: reason %#02x, want 0", c.login.User, c.login.Device, p.Topic, ack.Code)
	}
	return s
}

// answer reads the user properties of a PUBACK.
func (c *client) answer(ack *mqttest.Ack) stored {
	c.t.Helper()
	props, err := ack.Properties()
	if err != nil {
		c.t.Fatal(err)
	}
	var s stored
	for _, u := range props.User {
		switch u.Name {
		case "id":
			s.id = u.Value
		case "seq":
			s.seq, err = strconv.ParseUint(u.Value, 10, 64)
		case "ts":
			s.ts, err = strconv.ParseInt(u.Value, 10, 64)
		default:
			c.t.Errorf("PUBACK has the user property %s", u.Name)
		}
		if err != nil {
			c.t.Fatalf("PUBACK: user property %s: %v", u.Name, err)
		}
	}
	return s
}

// sendMany sends texts "PREFIX 1" to "PREFIX n", many in flight, and waits for all acknowledgements.
func (c *client) sendMany(topic, prefix string, n int) {
	c.t.Helper()
	// A further connection of the same device would take this one over, so the flow is counted by the acks of the
	// last publish of each window: acknowledgements leave in publish order.
	const window = 500
	for from := 1; from <= n; from += window {
		to := min(from+window, n+1)
		for i := from; i < to-1; i++ {
			p := mqttest.Publish{Topic: topic, Payload: fmt.Appendf(nil, "%s %d", prefix, i), QoS: 1, ID: c.NextID()}
			if err := c.Queue(&p); err != nil {
				c.t.Fatal(err)
			}
		}
		c.send(topic, fmt.Sprintf("%s %d", prefix, to-1))
	}
}

// refusal is the error of a refused publish or request.
type refusal struct{ Code, Message string }

// refused sends a publish that has to be refused, and checks the code word where each version tells it: MQTT 5 in the
// PUBACK, 3.1.1 on u/{me}/sent, which the client has to have subscribed to.
func (c *client) refused(p mqttest.Publish, code byte, word string) {
	c.t.Helper()
	ack := c.publish(p)
	got := ""
	if c.Version() == mqttest.V5 {
		props, err := ack.Properties()
		if err != nil {
			c.t.Fatal(err)
		}
		got = props.Strings[mqttest.PropReasonString]
		if ack.Code != code {
			c.t.Errorf("publish to %.60s: reason %#02x %s, want %#02x", p.Topic, ack.Code, got, code)
		}
	} else {
		m := c.await("a refusal", func(m *message) bool { return m.topic == c.me()+"/sent" && m.fields()["error"] != nil })
		var sent struct{ Error refusal }
		if err := json.Unmarshal(m.Payload, &sent); err != nil {
			c.t.Fatal(err)
		}
		got = sent.Error.Code
		if sent.Error.Message == "" {
			c.t.Errorf("refusal without a sentence: %s", m.Payload)
		}
	}
	if got != word {
		c.t.Errorf("publish to %.60s: refused as %q, want %q", p.Topic, got, word)
	}
}

// request makes a request and returns its result, or the refusal's code word. The device has to have subscribed to its
// answers.
func (c *client) request(op string, params map[string]any) (json.RawMessage, string) {
	c.t.Helper()
	c.rid++
	rid := fmt.Sprintf("%s-%d", c.login.Device, c.rid)
	p := mqttest.Publish{Topic: "rpc/" + op}
	req := map[string]any{}
	maps.Copy(req, params)
	if c.Version() == mqttest.V5 {
		p.Props = &mqttest.Properties{}
		p.Props.SetString(mqttest.PropResponseTopic, c.me()+"/rpc/answers")
		p.Props.SetString(mqttest.PropCorrelationData, rid)
	} else {
		req["rid"] = rid
	}
	var err error
	if p.Payload, err = json.Marshal(req); err != nil {
		c.t.Fatal(err)
	}
	if ack := c.publish(p); ack.Code != 0 {
		c.t.Fatalf("request %s: PUBACK %#02x", op, ack.Code)
	}
	m := c.await("the answer to "+op, func(m *message) bool { return c.answers(m, rid) })
	var a struct {
		Result json.RawMessage
		Error  *refusal
	}
	if err := json.Unmarshal(m.Payload, &a); err != nil || (a.Error == nil) == (a.Result == nil) {
		c.t.Fatalf("answer to %s: %s %v", op, m.Payload, err)
	}
	if a.Error != nil {
		return nil, a.Error.Code
	}
	return a.Result, ""
}

// answers tells whether a delivery is the answer to a request.
func (c *client) answers(m *message, rid string) bool {
	if c.Version() != mqttest.V5 {
		return m.topic == c.me()+"/rpc/"+rid
	}
	props, err := m.Properties()
	return err == nil && m.topic == c.me()+"/rpc/answers" && props.Strings[mqttest.PropCorrelationData] == rid
}

// call makes a request that has to succeed and decodes its result into out, which may be nil.
func (c *client) call(op string, params map[string]any, out any) {
	c.t.Helper()
	result, code := c.request(op, params)
	if code != "" {
		c.t.Fatalf("%s %.200s: refused as %s", op, fmt.Sprint(params), code)
	}
	if out == nil {
		return
	}
	if err := json.Unmarshal(result, out); err != nil {
		c.t.Fatalf("%s: result %s: %v", op, result, err)
	}
}

// callRefused makes a request that has to be refused.
func (c *client) callRefused(op string, params map[string]any, code string) {
	c.t.Helper()
	if result, got := c.request(op, params); got != code {
		c.t.Errorf("%s %.200s: refused as %q (result %s), want %q", op, fmt.Sprint(params), got, result, code)
	}
}

// ended waits for the end of the connection and returns the reason code of the server's DISCONNECT, or 0 with the
// network error's place taken by nothing: MQTT 3.1.1 is told nothing.
func (c *client) ended() byte {
	c.t.Helper()
	ctx, cancel := c.context()
	defer cancel()
	select {
	case <-c.Done():
	case <-ctx.Done():
		c.t.Fatalf("%s %s: the connection did not end", c.login.User, c.login.Device)
	}
	if d, ok := errors.AsType[*mqttest.Disconnected](c.Err()); ok {
		return d.Code
	}
	return 0
}

// page is an answer of rpc/history.
type page struct {
	Head, Floor uint64
	Messages    []envelope
	More        bool
}

// history reads a chat's log.
func (c *client) history(params map[string]any) page {
	c.t.Helper()
	var p page
	c.call("history", params, &p)
	return p
}
