package conformance_test

import (
	"testing"

	"tidings/internal/mqttest"
)

// Shows MQTT5-4.12.0-1, MQTT5-3.1.4-2, MQTT5-3.2.2-6, MQTT5-3.2.2-7.
func TestUnknownAuthenticationMethod(t *testing.T) {
	t.Parallel()
	id := unique()
	connect(t, v5, lasting, as(id)).disconnect() // there is a session
	p := dial(t, v5)
	p.send(mqttest.AppendConnect(nil, &mqttest.Options{
		ClientID: id, SessionExpiry: 600,
		Props: (&mqttest.Properties{}).SetString(mqttest.PropAuthMethod, "no such method").SetString(mqttest.PropAuthData, "\x00"),
	}))
	p.turnedAway("an unknown method", 0x8c, 0x87)
	if !connect(t, v5, lasting, as(id)).ack.SessionPresent {
		t.Error("the refused CONNECT has ended the session")
	}
}

// Shows MQTT5-4.12.0-6, MQTT5-4.12.0-7.
func TestNoAuthenticationMethod(t *testing.T) {
	t.Parallel()
	p := connect(t, v5)
	if method, ok := p.ack.Props.Strings[mqttest.PropAuthMethod]; ok {
		t.Errorf("CONNACK has authentication method %q", method)
	}
	for _, section := range [][]byte{{0x18, 0}, {0x19, 0}, append([]byte{0x19, 5, 0x15}, str("ab")...), {}} {
		connect(t, v5).refused("AUTH", packetOf(0xf0, section), 0x81, 0x82)
	}
}
