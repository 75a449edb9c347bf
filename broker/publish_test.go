package broker_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"tidings/broker"
	"tidings/delivery"
	"tidings/internal/mqttest"
)

// Shows MQTT5-3.1.2-29, MQTT5-3.4.2-1, MQTT5-3.4.2-3, MQTT5-3.5.2-1.
func TestPubackTellsTheOutcome(t *testing.T) {
	e := newFakeEngine()
	e.judge = func(p *delivery.Publish) *delivery.Refusal {
		if word, ok := strings.CutPrefix(string(p.Payload), "refuse "); ok {
			return &delivery.Refusal{Code: word, Message: "no"}
		}
		return nil
	}
	s := serve(t, mode{version: mqttest.V5}, broker.Config{}, e, nil)
	c := s.dial("alice", "phone")
	quiet := s.dial("alice", "quiet", func(o *mqttest.Options) { o.NoProblemInfo = true })
	narrow := s.dial("alice", "narrow", func(o *mqttest.Options) { o.MaxPacketSize = 40 })
	for _, qos := range []byte{1, 2} {
		var seen *mqttest.Ack
		ack := func(c *mqttest.Client, topic, payload string) *mqttest.Ack {
			t.Helper()
			a, err := c.PublishWait(t.Context(), &mqttest.Publish{Topic: topic, Payload: []byte(payload), QoS: qos})
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		if qos == 1 {
			seen = ack(c, "u/bob", "hi")
			p, err := seen.Properties()
			if err != nil || seen.Code != 0 || p.UserValue("seq") != "1" || p.UserValue("ts") != "1700000000000" || len(p.UserValue("id")) != 36 {
				t.Errorf("PUBACK %+v %+v %v", seen, p, err)
			}
			for _, plain := range []*mqttest.Client{quiet, narrow} {
				if p, err := ack(plain, "u/bob", "hi").Properties(); err != nil || len(p.User) > 0 {
					t.Errorf("properties %+v %v where none are wanted", p, err)
				}
			}
		}
		for word, code := range map[string]byte{
			"not_allowed": 0x87, "unknown_topic": 0x90, "malformed": 0x99, "too_large": 0x97, "quota_exceeded": 0x97,
			"storage_full": 0x97, "cid_conflict": 0x83, "unavailable": 0x80, "other": 0x80,
		} {
			a := ack(c, "u/bob", "refuse "+word)
			if p, err := a.Properties(); err != nil || a.Code != code || p.Strings[mqttest.PropReasonString] != word {
				t.Errorf("%s: code %#x, %+v %v", word, a.Code, p, err)
			}
			if a := ack(quiet, "u/bob", "refuse "+word); a.Code != code {
				t.Errorf("%s without problem information: code %#x", word, a.Code)
			} else if p, _ := a.Properties(); len(p.Strings) > 0 {
				t.Errorf("%s: reason string where none is wanted", word)
			}
		}
		if a := ack(c, "other/topic", "x"); a.Code != 0x90 {
			t.Errorf("unknown topic: %#x", a.Code)
		}
	}
}

func TestSentTellsTheOutcome(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		e := newFakeEngine()
		e.judge = func(p *delivery.Publish) *delivery.Refusal {
			if len(p.Payload) == 0 {
				return &delivery.Refusal{Code: delivery.CodeMalformed, Message: `say "something"`}
			}
			return nil
		}
		s := serve(t, m, broker.Config{}, e, nil)
		c := s.dial("alice", "phone")
		if _, err := c.Subscribe(t.Context(), "u/alice/sent"); err != nil {
			t.Fatal(err)
		}
		for payload, want := range map[string]string{
			"hi": `{"chat":"u/bob","seq":1,"id":"00000000-0000-0000-0000-000000000000","ts":1700000000000}`,
			"":   `{"chat":"u/bob","error":{"code":"malformed","message":"say \"something\""}}`,
		} {
			if _, err := c.PublishWait(t.Context(), &mqttest.Publish{Topic: "u/bob", Payload: []byte(payload), QoS: 1}); err != nil {
				t.Fatal(err)
			}
			got, err := c.Next(t.Context())
			if err != nil || string(got.Topic) != "u/alice/sent" || got.QoS != 0 || string(got.Payload) != want {
				t.Errorf("%q: got %s %s %v", payload, got.Topic, got.Payload, err)
			}
		}
	})
}

// Shows MQTT3-4.8.0-2.
func TestTemporaryRefusalOfV3ClosesWithoutAck(t *testing.T) {
	e := newFakeEngine()
	e.judge = func(p *delivery.Publish) *delivery.Refusal {
		if string(p.Payload) == "full" {
			return &delivery.Refusal{Code: delivery.CodeStorageFull, Temporary: true}
		}
		return nil
	}
	s := serve(t, mode{version: mqttest.V311}, broker.Config{}, e, nil)
	c := s.raw()
	c.login(mqttest.Options{Version: mqttest.V311, ClientID: "c", User: "alice", Password: "alice", Clean: true})
	var b []byte
	for i, payload := range []string{"first", "full", "behind"} {
		b = mqttest.AppendPublish(b, mqttest.V311, &mqttest.Publish{Topic: "u/bob", Payload: []byte(payload), QoS: 1, ID: uint16(i + 1)})
	}
	c.send(b, 0)
	if got := c.rest(); got != "40020001" {
		t.Errorf("got %s: only what came before the refusal is acked", got)
	}
}

// Shows MQTT5-3.3.4-7.
func TestReceiveMaximum(t *testing.T) {
	const limit = 8
	run(t, func(t *testing.T, m mode) {
		e := newFakeEngine()
		e.hold = make(chan struct{})
		s := serve(t, m, broker.Config{ReceiveMaximum: limit}, e, nil)
		c := s.raw()
		c.login(mqttest.Options{Version: m.version, ClientID: "c", User: "alice", Password: "alice", Clean: true})
		var b []byte
		for i := range 3 * limit {
			b = mqttest.AppendPublish(b, m.version, &mqttest.Publish{Topic: "u/bob", Payload: []byte("x"), QoS: 1, ID: uint16(i + 1)})
		}
		c.send(b, 0)
		if m.version == mqttest.V5 {
			close(e.hold)
			if got := c.rest(); !strings.HasSuffix(got, "e0029300") {
				t.Errorf("got %s", got)
			}
			return
		}
		// MQTT 3.1.1: reading stops, and goes on as the acknowledgements leave.
		ok := waitFor(func() bool { return s.broker.Stats().PacketsIn[mqttest.PUBLISH] == limit })
		if !ok {
			t.Errorf("%d publishes taken, want %d", s.broker.Stats().PacketsIn[mqttest.PUBLISH], limit)
		}
		close(e.hold)
		for i := range 3 * limit {
			if first, body := c.packet(); first != 0x40 || !bytes.Equal(body, []byte{0, byte(i + 1)}) {
				t.Fatalf("packet %d: %#x %x", i, first, body)
			}
		}
	})
}

func TestPublishTooLargeForV3IsReadPastAndAnswered(t *testing.T) {
	for _, portable := range []bool{false, true} {
		s := serve(t, mode{version: mqttest.V311}, broker.Config{MaximumPacketSize: 1024, Portable: portable}, newFakeEngine(), nil)
		c := s.dial("alice", "phone")
		if _, err := c.Subscribe(t.Context(), "u/alice/sent"); err != nil {
			t.Fatal(err)
		}
		for _, n := range []int{1020, 2000, 70000, 1 << 20} {
			for _, qos := range []byte{1, 2, 0} {
				p := &mqttest.Publish{Topic: "u/bob", Payload: make([]byte, n), QoS: qos}
				var err error
				if qos == 0 {
					err = c.Publish(p)
				} else {
					_, err = c.PublishWait(t.Context(), p)
				}
				if err != nil {
					t.Fatalf("%d bytes: %v", n, err)
				}
				if got, err := c.Next(t.Context()); err != nil || !strings.Contains(string(got.Payload), `"code":"too_large"`) {
					t.Errorf("%d bytes: %s %v", n, got.Payload, err)
				}
			}
		}
		if a, err := c.PublishWait(t.Context(), &mqttest.Publish{Topic: "u/bob", Payload: []byte("small"), QoS: 1}); err != nil {
			t.Errorf("afterwards: %v %v", a, err)
		}
	}
}

// Shows MQTT5-3.3.2-12.
func TestTopicAliases(t *testing.T) {
	s := serve(t, mode{version: mqttest.V5}, broker.Config{TopicAliasMaximum: 2}, newFakeEngine(), nil)
	bob := s.dial("bob", "phone")
	if _, err := bob.Subscribe(t.Context(), "u/bob", "g/+"); err != nil {
		t.Fatal(err)
	}
	c := s.dial("alice", "phone")
	alias := func(n uint32) *mqttest.Properties {
		return (&mqttest.Properties{}).SetNumber(mqttest.PropTopicAlias, n)
	}
	for i, p := range []mqttest.Publish{{Topic: "u/bob", Props: alias(2)}, {Props: alias(2)}, {Topic: "g/team", Props: alias(2)}, {Props: alias(2)}, {Topic: "u/bob"}} {
		p.Payload, p.QoS = []byte(fmt.Sprint(i)), 1
		if a, err := c.PublishWait(t.Context(), &p); err != nil || a.Code != 0 {
			t.Fatalf("publish %d: %v %v", i, a, err)
		}
		got, err := bob.Next(t.Context())
		if want := []string{"u/bob", "u/bob", "g/team", "g/team", "u/bob"}[i]; err != nil || string(got.Topic) != want {
			t.Errorf("publish %d: %s %v, want %s", i, got.Topic, err, want)
		}
	}
	c.Publish(&mqttest.Publish{Props: alias(1), QoS: 1, ID: 99})
	err := c.Err()
	if d, ok := errors.AsType[*mqttest.Disconnected](err); !ok || d.Code != 0x82 {
		t.Errorf("unknown alias: %v", err)
	}
}

// Shows MQTT3-2.3.1-6, MQTT5-2.2.1-5, MQTT5-3.6.2-1, MQTT5-3.7.2-1, MQTT5-4.3.3-11.
func TestQoS2IdentifierIsReleasedByPubrel(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		s := serve(t, m, broker.Config{}, newFakeEngine(), nil)
		c := s.raw()
		c.login(mqttest.Options{Version: m.version, ClientID: "c", User: "alice", Password: "alice", Clean: true, NoProblemInfo: true})
		p := &mqttest.Publish{Topic: "u/bob", Payload: []byte("x"), QoS: 2, ID: 9}
		for i, step := range []struct {
			send []byte
			want string
		}{
			{mqttest.AppendPublish(nil, m.version, p), "50020009"},
			{mqttest.AppendAck(nil, m.version, mqttest.PUBREL, 9, 0), "70020009"},
			{mqttest.AppendAck(nil, m.version, mqttest.PUBREL, 9, 0), map[byte]string{4: "70020009", 5: "7003000992"}[m.version]},
			{mqttest.AppendAck(nil, m.version, mqttest.PUBREC, 77, 0), map[byte]string{4: "6202004d", 5: "6203004d92"}[m.version]},
		} {
			c.send(step.send, 0)
			first, body := c.packet()
			if got := fmt.Sprintf("%02x%02x%x", first, len(body), body); got != step.want {
				t.Errorf("step %d: %s, want %s", i, got, step.want)
			}
		}
	})
}

// TestQoS2BeyondTheReceiveMaximum has a client of MQTT 3.1.1, which knows no Receive
// Maximum, send more than that with QoS 2 before it releases any: its releases
// stand behind publishes that must be read first.
func TestQoS2BeyondTheReceiveMaximum(t *testing.T) {
	const limit, n = 4, 13
	for _, portable := range []bool{false, true} {
		s := serve(t, mode{version: mqttest.V311}, broker.Config{ReceiveMaximum: limit, Portable: portable}, newFakeEngine(), nil)
		c := s.raw()
		c.login(mqttest.Options{Version: mqttest.V311, ClientID: "c", User: "alice", Password: "alice", Clean: true})
		var publishes, again, releases []byte
		for i := range n {
			p := &mqttest.Publish{Topic: "u/bob", Payload: []byte("x"), QoS: 2, ID: uint16(i + 1)}
			publishes = mqttest.AppendPublish(publishes, mqttest.V311, p)
			p.Dup = true
			again = mqttest.AppendPublish(again, mqttest.V311, p)
			releases = mqttest.AppendAck(releases, mqttest.V311, mqttest.PUBREL, p.ID, 0)
		}
		for _, step := range []struct {
			send []byte
			want byte
		}{{publishes, mqttest.PUBREC}, {again, mqttest.PUBREC}, {releases, mqttest.PUBCOMP}, {publishes, mqttest.PUBREC}} {
			c.send(step.send, 0)
			for i := range n {
				if first, body := c.packet(); first>>4 != step.want || !bytes.Equal(body, []byte{0, byte(i + 1)}) {
					t.Fatalf("packet %d: %#x %x, want type %d", i, first, body, step.want)
				}
			}
		}
	}
}
