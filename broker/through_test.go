package broker_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"tidings/broker"
	"tidings/internal/mqttest"
)

// passing is a property section of a PUBLISH, and what a receiver gets of it.
var passing = []struct{ name, sent, want string }{
	{"none", "", ""},
	{"payload format", "01 01", "01 01"},
	{"content type", "03 00 01 61", "03 00 01 61"},
	{"content type of no length", "03 00 00", "03 00 00"},
	{"response topic", "08 00 03 61 2f 62", "08 00 03 61 2f 62"},
	{"correlation data", "09 00 02 00 ff", "09 00 02 00 ff"},
	{"user properties", "26 00 01 62 00 01 31 26 00 01 61 00 01 32 26 00 01 62 00 01 31", "26 00 01 62 00 01 31 26 00 01 61 00 01 32 26 00 01 62 00 01 31"},
	{"expiry", "02 00 00 00 3c", "02 00 00 00 3c"},
	{"expiry of nothing", "02 00 00 00 00", "02 00 00 00 01"},
	{"alias", "23 00 01", ""},
	{"all", "26 00 01 62 00 01 31 23 00 01 09 00 01 00 02 00 00 00 3c 01 01 26 00 01 61 00 01 32", "02 00 00 00 3c 26 00 01 62 00 01 31 09 00 01 00 01 01 26 00 01 61 00 01 32"},
	{"expiry first and alias last", "02 00 00 00 3c 01 00 23 00 02", "02 00 00 00 3c 01 00"},
}

// Shows MQTT5-3.3.2-4, MQTT5-3.3.2-15, MQTT5-3.3.2-16, MQTT5-3.3.2-17, MQTT5-3.3.2-18, MQTT5-3.3.2-20.
func TestPropertiesReachReceiversUnchanged(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		s := serve(t, m, broker.Config{TopicAliasMaximum: 2}, newFakeEngine(), nil)
		to := s.raw()
		to.login(mqttest.Options{Version: m.version, ClientID: "c", User: "alice", Password: "alice", Clean: true})
		to.send(mqttest.AppendSubscribe(nil, m.version, 1, nil, []mqttest.Subscription{{Filter: "open/x"}}), 0)
		to.packet()
		from := s.raw()
		from.login(mqttest.Options{ClientID: "d", User: "alice", Password: "alice", Clean: true})
		for _, k := range passing {
			props := unhex(t, k.sent)
			body := append([]byte("\x00\x06open/x"), byte(len(props)))
			body = append(append(body, props...), 0xc3, 0xa4)
			from.send(append([]byte{0x30, byte(len(body))}, body...), 0)
			want := []byte("\x00\x06open/x")
			if m.version == mqttest.V5 {
				through := unhex(t, k.want)
				want = append(append(want, byte(len(through))), through...)
			}
			want = append(want, 0xc3, 0xa4)
			if first, got := to.packet(); first != 0x30 || !bytes.Equal(got, want) {
				t.Errorf("%s: got %#x %x, want %x", k.name, first, got, want)
			}
		}
	})
}

func TestPropertiesCountInTheClientsMaximumPacketSize(t *testing.T) {
	s := serve(t, mode{version: mqttest.V5}, broker.Config{}, newFakeEngine(), nil)
	c := s.dial("alice", "phone", func(o *mqttest.Options) { o.MaxPacketSize = 60 })
	if _, err := c.Subscribe(t.Context(), "open/x"); err != nil {
		t.Fatal(err)
	}
	from := s.dial("alice", "laptop")
	for _, n := range []int{39, 38} {
		p := &mqttest.Publish{Topic: "open/x", Payload: make([]byte, n), QoS: 1, Props: (&mqttest.Properties{}).AddUser("kk", "vv")}
		if _, err := from.PublishWait(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	// 2 of the header, 8 of the topic, 2 of the identifier, 1 + 9 of the properties: 22.
	if got, err := c.Next(t.Context()); err != nil || len(got.Payload) != 38 {
		t.Errorf("first %d bytes, %v", len(got.Payload), err)
	}
}

// Shows MQTT3-3.3.1-5.
func TestRetainReachesTheEngine(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		s := serve(t, m, broker.Config{}, newFakeEngine(), nil)
		c := s.dial("alice", "phone")
		if _, err := c.Subscribe(t.Context(), "open/x"); err != nil {
			t.Fatal(err)
		}
		for qos := range byte(3) {
			for _, retain := range []bool{false, true} {
				payload := []byte{qos, 0xff, '{'} // anything at all
				if err := c.Publish(&mqttest.Publish{Topic: "open/x", Payload: payload, QoS: qos, ID: 5, Retain: retain}); err != nil {
					t.Fatal(err)
				}
				got, err := c.Next(t.Context())
				if err != nil || got.Retain != retain || !bytes.Equal(got.Payload, payload) || got.QoS != min(qos, 1) {
					t.Errorf("QoS %d, retain %v: %+v %v", qos, retain, got, err)
				}
			}
		}
	})
}

func TestAliasesOfOneClientAreBounded(t *testing.T) {
	s := serve(t, mode{version: mqttest.V5}, broker.Config{TopicAliasMaximum: 100}, newFakeEngine(), nil)
	c := s.dial("alice", "phone")
	long := string(bytes.Repeat([]byte{'x'}, 60_000))
	for i := range 40 {
		topic := fmt.Sprint("open/", i%10, long) // the same ten again cost nothing
		p := &mqttest.Publish{Topic: topic, QoS: 1, Props: (&mqttest.Properties{}).SetNumber(mqttest.PropTopicAlias, uint32(i%10+1))}
		if _, err := c.PublishWait(t.Context(), p); err != nil {
			t.Fatalf("alias %d: %v", i, err)
		}
	}
	for i := range 18 {
		p := &mqttest.Publish{Topic: fmt.Sprint("open/", i, long), Props: (&mqttest.Properties{}).SetNumber(mqttest.PropTopicAlias, uint32(i+1))}
		if c.Publish(p) != nil {
			break
		}
	}
	select {
	case <-c.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("more than a megabyte of topics is kept")
	}
	if d, ok := errors.AsType[*mqttest.Disconnected](c.Err()); !ok || d.Code != 0x97 {
		t.Errorf("ended with %v", c.Err())
	}
}
