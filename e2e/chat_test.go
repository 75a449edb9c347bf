package e2e_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tidings/internal/mqttest"
)

// In every form of the protocol the same chat is the same.
func TestChat(t *testing.T) {
	t.Parallel()
	w := sharedWorld(t)
	inModes(t, allModes, func(t *testing.T, m mode) {
		w := w.in(t)
		ls := w.logins("alice/laptop", "bob/phone", "bob/tablet", "alice/phone")
		alice, bob := w.online(ls[0], m), w.online(ls[1], m)
		tablet, other := w.online(ls[2], m), w.online(ls[3], m)

		t.Run("a text reaches every device of both users but the sender", func(t *testing.T) {
			s := alice.send(bob.me(), "hi")
			for _, c := range []*client{bob, tablet} {
				e := c.on(bob.me()).envelope
				if diff := cmp.Diff(envelope{ID: e.ID, TS: e.TS, Chat: alice.me(), Seq: 1, From: ls[0].User, Device: "laptop", Type: "text", Body: []byte(`"hi"`)}, e); diff != "" {
					t.Errorf("envelope (-want +got):\n%s", diff)
				}
				if m.version == mqttest.V5 && (s.id != e.ID || s.seq != e.Seq || s.ts != e.TS) {
					t.Errorf("PUBACK %+v, envelope %+v", s, e)
				}
			}
			e := other.on(alice.me()).envelope
			if e.Chat != bob.me() || e.Seq != 1 || e.From != ls[0].User || e.text() != "hi" {
				t.Errorf("own message on the other device: %+v", e)
			}
		})

		t.Run("a draft is passed on byte for byte", func(t *testing.T) {
			body := `{ "b" : [1e400, 1.0,"\u0041é"],"a":{"":null} }`
			alice.send(bob.me(), `{"type":"card","cid":"c-1","re":1,"mentions":["bob"],"ttl":600,"body":`+body+`}`)
			e := bob.on(bob.me()).envelope
			if string(e.Body) != body || e.Type != "card" || e.CID != "c-1" || string(e.Re) != "1" || e.Expires < e.TS+599_000 || e.Expires > e.TS+600_000 {
				t.Errorf("envelope %+v", e)
			}
		})

		t.Run("QoS 0 and QoS 2 are stored too", func(t *testing.T) {
			if err := alice.Publish(&mqttest.Publish{Topic: bob.me(), Payload: []byte("at most once"), QoS: 0}); err != nil {
				t.Fatal(err)
			}
			alice.sendAs(mqttest.Publish{Topic: bob.me(), Payload: []byte("exactly once"), QoS: 2})
			bob.texts(bob.me(), "at most once", "exactly once")
		})

		t.Run("a chat with oneself reaches one's other devices", func(t *testing.T) {
			alice.send(alice.me(), "note")
			other.await("the note", func(m *message) bool { return m.topic == alice.me() && m.text() == "note" })
		})

		t.Run("RETAIN changes nothing", func(t *testing.T) {
			alice.sendAs(mqttest.Publish{Topic: bob.me(), Payload: []byte("kept?"), Retain: true})
			if m := bob.on(bob.me()); m.Retain || m.text() != "kept?" {
				t.Errorf("retain %v %s", m.Retain, m.Payload)
			}
		})
	})
}

// Shows MQTT5-3.3.4-3, MQTT5-3.3.4-4.
func TestOverlappingFiltersAreOneDelivery(t *testing.T) {
	t.Parallel()
	w := sharedWorld(t)
	ls := w.logins("alice/laptop", "bob/phone")
	alice, bob := w.online(ls[0], v5), w.connect(ls[1], v5)
	ctx, cancel := bob.context()
	defer cancel()
	for i, f := range []string{bob.me(), bob.me() + "/#"} {
		props := &mqttest.Properties{SubscriptionIDs: []uint32{uint32(i + 1)}}
		if _, err := bob.SubscribeWith(ctx, props, mqttest.Subscription{Filter: f, Options: byte(i)}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 3 {
		alice.send(bob.me(), fmt.Sprint(i))
		m := bob.on(bob.me())
		props, err := m.Properties()
		if err != nil || m.QoS != 1 || len(props.SubscriptionIDs) != 2 || m.text() != fmt.Sprint(i) {
			t.Errorf("QoS %d, subscriptions %v, %s", m.QoS, props.SubscriptionIDs, m.Payload)
		}
	}
}

func TestSentTellsTheSendingDevice(t *testing.T) {
	t.Parallel()
	w := sharedWorld(t)
	inModes(t, versions, func(t *testing.T, m mode) {
		w := w.in(t)
		ls := w.logins("alice/laptop", "bob/phone", "alice/phone")
		alice, bob, other := w.connect(ls[0], m), w.online(ls[1], m), w.online(ls[2], m)
		alice.subscribe(alice.me() + "/sent")
		alice.send(bob.me(), `{"body":1,"cid":"x-1"}`)
		e := bob.on(bob.me()).envelope
		var got struct {
			CID, Chat, ID string
			Seq           uint64
			TS            int64
		}
		sent := alice.on(alice.me() + "/sent")
		if err := json.Unmarshal(sent.Payload, &got); err != nil {
			t.Fatal(err)
		}
		if got.CID != "x-1" || got.Chat != bob.me() || got.ID != e.ID || got.Seq != 1 || got.TS != e.TS {
			t.Errorf("sent %s, the envelope %+v", sent.Payload, e)
		}
		// To the asking device alone: what comes next to the other one is the message itself.
		if m := other.await("anything", func(*message) bool { return true }); m.topic != alice.me() {
			t.Errorf("the other device got %s %s", m.topic, m.Payload)
		}
	})
}

func TestEvents(t *testing.T) {
	t.Parallel()
	w := sharedWorld(t)
	ls := w.logins("alice/laptop", "alice/phone", "bob/laptop")
	phone, owner := w.online(ls[1], v5), w.online(ls[2], v5)
	tablet := w.connect(w.device(ls[0], "tablet"), v3)
	tablet.inbox()
	m := phone.on(phone.me() + "/events")
	if m.Type != "device.added" || string(m.Body) != `{"device":"tablet"}` || m.QoS != 1 {
		t.Errorf("event %s", m.Payload)
	}
	phone.Disconnect()
	group := "g-" + ls[0].User
	owner.call("group.create", map[string]any{"group": group, "members": []string{ls[0].User}}, nil)
	phone = w.online(ls[1], v5)
	e := phone.on(phone.me() + "/events")
	var body struct{ Group, By string }
	if json.Unmarshal(e.Body, &body) != nil || e.Type != "group.added" || body.Group != group || body.By != ls[2].User || e.Seq != m.Seq+1 {
		t.Errorf("event waiting in the inbox: %s", e.Payload)
	}
}
