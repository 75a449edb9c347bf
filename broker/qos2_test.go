package broker_test

import (
	"fmt"
	"testing"

	"tidings/broker"
	"tidings/internal/mqttest"
)

// Shows MQTT3-4.3.3-1, MQTT3-4.3.3-2, MQTT5-4.3.3-1, MQTT5-4.3.3-3, MQTT5-4.3.3-4, MQTT5-4.3.3-6.
func TestDeliveryOfQoS2IsAcknowledgedTwice(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		s := serve(t, m, broker.Config{}, newFakeEngine(), nil)
		c := s.raw()
		c.login(mqttest.Options{Version: m.version, ClientID: "c", User: "alice", Password: "alice", Clean: true})
		c.send(mqttest.AppendSubscribe(nil, m.version, 1, nil, []mqttest.Subscription{{Filter: "open/x", Options: 2}}), 0)
		if _, body := c.packet(); body[len(body)-1] != 2 {
			t.Fatalf("SUBACK %x", body)
		}
		alice := s.dial("alice", "laptop")
		publish := func() uint16 {
			if _, err := alice.PublishWait(t.Context(), &mqttest.Publish{Topic: "open/x", Payload: []byte("x"), QoS: 2}); err != nil {
				t.Fatal(err)
			}
			first, body := c.packet()
			if first != 0x34 {
				t.Fatalf("first byte %#x", first)
			}
			return uint16(body[8])<<8 | uint16(body[9])
		}
		expect := func(what string, want string) {
			t.Helper()
			first, body := c.packet()
			if got := fmt.Sprintf("%02x%02x%x", first, len(body), body); got != want {
				t.Errorf("%s: %s, want %s", what, got, want)
			}
		}
		id := publish()
		unknown := map[byte]string{mqttest.V311: fmt.Sprintf("6202%04x", id), mqttest.V5: fmt.Sprintf("6203%04x92", id)}[m.version]
		for range 2 { // a repeated PUBREC is answered like the first
			c.send(mqttest.AppendAck(nil, m.version, mqttest.PUBREC, id, 0), 0)
			expect("PUBREC", fmt.Sprintf("6202%04x", id))
		}
		c.send(mqttest.AppendAck(nil, m.version, mqttest.PUBCOMP, id, 0), 0)
		c.send(mqttest.AppendAck(nil, m.version, mqttest.PUBREC, id, 0), 0)
		expect("PUBREC after PUBCOMP", unknown)
		if n := s.broker.Stats().StrayAcks; n != 1 {
			t.Errorf("%d stray acknowledgements", n)
		}
		if m.version == mqttest.V311 {
			return
		}
		id = publish() // refused: that ends it, without PUBREL
		c.send(mqttest.AppendAck(nil, m.version, mqttest.PUBREC, id, 0x80), 0)
		c.send([]byte{0xc0, 0}, 0)
		expect("PINGREQ after a refusal", "d000")
		c.send(mqttest.AppendAck(nil, m.version, mqttest.PUBREC, id, 0), 0)
		expect("PUBREC after a refusal", fmt.Sprintf("6203%04x92", id))
	})
}
