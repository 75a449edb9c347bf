package mqttest

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestEncodeVectors holds bytes written by hand from the specification, so that encoder and decoder cannot agree on a
// mistake.
func TestEncodeVectors(t *testing.T) {
	props := (&Properties{}).SetNumber(PropMessageExpiry, 9).AddUser("k", "v")
	tests := map[string]struct{ got, want []byte }{
		"connect 3.1.1": {
			AppendConnect(nil, &Options{Version: V311, ClientID: "c", User: "u", Password: "p", Clean: true, KeepAlive: 60}),
			[]byte("\x10\x13\x00\x04MQTT\x04\xc2\x00\x3c\x00\x01c\x00\x01u\x00\x01p"),
		},
		"connect 5": {
			AppendConnect(nil, &Options{ClientID: "c", SessionExpiry: 2, ReceiveMaximum: 3}),
			[]byte("\x10\x16\x00\x04MQTT\x05\x00\x00\x00\x08\x11\x00\x00\x00\x02\x21\x00\x03\x00\x01c"),
		},
		"connect 5 with a will": {
			AppendConnect(nil, &Options{ClientID: "c", Will: &Will{Topic: "t", Payload: []byte("x"), QoS: 1}}),
			[]byte("\x10\x15\x00\x04MQTT\x05\x0c\x00\x00\x00\x00\x01c\x00\x00\x01t\x00\x01x"),
		},
		"publish 3.1.1": {
			AppendPublish(nil, V311, &Publish{Topic: "t", Payload: []byte("x"), QoS: 1, ID: 258, Dup: true}),
			[]byte("\x3a\x06\x00\x01t\x01\x02x"),
		},
		"publish 5": {
			AppendPublish(nil, V5, &Publish{Topic: "t", Payload: []byte("x"), QoS: 1, ID: 1, Props: props}),
			[]byte("\x32\x13\x00\x01t\x00\x01\x0c\x02\x00\x00\x00\x09\x26\x00\x01k\x00\x01vx"),
		},
		"puback 5":        {AppendAck(nil, V5, PUBACK, 3, 0x87), []byte("\x40\x03\x00\x03\x87")},
		"puback 3.1.1":    {AppendAck(nil, V311, PUBACK, 3, 0x87), []byte("\x40\x02\x00\x03")},
		"pubrel":          {AppendAck(nil, V5, PUBREL, 3, 0), []byte("\x62\x02\x00\x03")},
		"subscribe 3.1.1": {AppendSubscribe(nil, V311, 1, nil, []Subscription{{"a/#", 1}}), []byte("\x82\x08\x00\x01\x00\x03a/#\x01")},
		"unsubscribe 5":   {AppendUnsubscribe(nil, V5, 1, []string{"a"}), []byte("\xa2\x06\x00\x01\x00\x00\x01a")},
		"disconnect 5":    {AppendDisconnect(nil, V5, 4, nil), []byte("\xe0\x02\x04\x00")},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if !bytes.Equal(tt.got, tt.want) {
				t.Errorf("got  %x\nwant %x", tt.got, tt.want)
			}
		})
	}
}

func TestPublishRoundTrip(t *testing.T) {
	props := (&Properties{SubscriptionIDs: []uint32{1, 300}}).
		SetString(PropResponseTopic, "u/a/rpc/1").SetString(PropCorrelationData, "\x00\x01").AddUser("a", "1").AddUser("a", "2")
	b := AppendPublish(nil, V5, &Publish{Topic: "u/bob", Payload: bytes.Repeat([]byte("y"), 300), QoS: 1, ID: 7, Props: props})
	first, body, size, _, err := frame(b)
	if err != nil || size != len(b) {
		t.Fatalf("frame: size %d of %d, %v", size, len(b), err)
	}
	var m Message
	if err := parsePublish(&m, V5, first, body); err != nil {
		t.Fatal(err)
	}
	got, err := m.Properties()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(*props, got); diff != "" {
		t.Errorf("properties (-want +got):\n%s", diff)
	}
	if string(m.Topic) != "u/bob" || len(m.Payload) != 300 || m.ID != 7 || m.QoS != 1 || m.Dup {
		t.Errorf("message %+v", m)
	}
}

func TestFrameAtEverySplit(t *testing.T) {
	b := AppendPublish(nil, V5, &Publish{Topic: "t", Payload: make([]byte, 200)})
	for i := range len(b) {
		if _, _, size, _, err := frame(b[:i]); size != 0 || err != nil {
			t.Fatalf("%d of %d bytes: size %d, error %v", i, len(b), size, err)
		}
	}
	if _, _, _, _, err := frame([]byte("\x30\xff\xff\xff\xff\x01")); !errors.Is(err, ErrMalformed) {
		t.Errorf("five length bytes: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(byte(PUBLISH<<4|2), []byte("\x00\x01t\x00\x01\x00x"))
	f.Add(byte(PUBACK<<4), []byte("\x00\x01\x00\x03\x1f\x00\x00"))
	f.Add(byte(CONNACK<<4), []byte("\x00\x00\x03\x21\x00\x01"))
	f.Fuzz(func(t *testing.T, first byte, body []byte) {
		for _, v := range []byte{V311, V5} {
			var m Message
			if parsePublish(&m, v, first, body) == nil {
				m.Properties()
			}
			var a Ack
			if parseAck(&a, v, first, body) == nil {
				a.Properties()
			}
			parseConnAck(v, body)
			parseDisconnect(v, body)
			parseGranted(v, body)
		}
	})
}
