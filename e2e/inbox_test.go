package e2e_test

import (
	"encoding/json"
	"testing"

	"tidings/internal/mqttest"
)

// A device's inbox is durable from its first chat subscription on, whether its MQTT session is persistent or clean.
func TestInboxIsDurableFromTheFirstSubscription(t *testing.T) {
	t.Parallel()
	w := sharedWorld(t)
	inModes(t, versions, func(t *testing.T, m mode) {
		w := w.in(t)
		ls := w.logins("alice/laptop", "bob/lasting", "bob/clean")
		alice := w.online(ls[0], m)
		clean := mqttest.Options{Clean: true}
		w.online(ls[1], m).Drop()
		c := w.connectWith(ls[2], m, clean)
		c.inbox()
		c.Disconnect()
		alice.send("u/"+ls[1].User, "1")
		alice.send("u/"+ls[1].User, "2")

		t.Run("a persistent session is fed right after CONNACK", func(t *testing.T) {
			b := w.in(t).connect(ls[1], m)
			if !b.ConnAck().SessionPresent {
				t.Error("no session present")
			}
			b.texts(b.me(), "1", "2")
			b.Disconnect()
		})
		t.Run("a clean one as soon as it subscribes", func(t *testing.T) {
			b := w.in(t).connectWith(ls[2], m, clean)
			if b.ConnAck().SessionPresent {
				t.Error("session present after clean start")
			}
			b.inbox()
			b.texts(b.me(), "1", "2")
			b.Disconnect()
		})
		t.Run("what was acknowledged does not come again", func(t *testing.T) {
			alice.send("u/"+ls[1].User, "3")
			for _, l := range ls[1:] {
				// Connects once more: nothing but the third.
				b := w.in(t).connectWith(l, m, clean)
				b.inbox()
				if got := b.on(b.me()); got.text() != "3" {
					t.Errorf("%s got %s", l.Device, got.Payload)
				}
				b.Disconnect()
			}
		})
	})
}

// Shows MQTT3-3.3.1-1, MQTT3-4.4.0-1, MQTT5-3.3.1-1, MQTT5-4.4.0-1.
func TestUnacknowledgedComesAgain(t *testing.T) {
	t.Parallel()
	w := sharedWorld(t)
	inModes(t, versions, func(t *testing.T, m mode) {
		w := w.in(t)
		ls := w.logins("alice/laptop", "bob/phone")
		alice := w.online(ls[0], m)
		o := options(m)
		o.ManualAck = true
		b := w.connectWith(ls[1], m, o)
		b.inbox()
		alice.sendMany(b.me(), "m", 5)
		var ids []uint16
		for range 5 {
			ids = append(ids, b.on(b.me()).Message.ID)
		}
		// The first one and one in the middle: the cursor passes a contiguous prefix only.
		for _, i := range []int{0, 2} {
			if err := b.Ack(ids[i], 0); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.Ping(t.Context()); err != nil { // the acknowledgements have arrived
			t.Fatal(err)
		}
		b.Drop()
		b = w.connect(ls[1], m)
		for _, want := range []struct {
			id   uint16
			text string
		}{{ids[1], "m 2"}, {ids[3], "m 4"}, {ids[4], "m 5"}} {
			if got := b.on(b.me()); got.text() != want.text || got.Message.ID != want.id || !got.Dup {
				t.Errorf("again: identifier %d dup %v %s, want %d %s", got.Message.ID, got.Dup, got.Payload, want.id, want.text)
			}
		}
	})
}

func TestNewUsersFirstDeviceGetsWhatWasSentBefore(t *testing.T) {
	t.Parallel()
	w := sharedWorld(t)
	ls := w.logins("alice/laptop", "bob/phone", "carol/laptop")
	alice, carol := w.connect(ls[0], v5), w.connect(ls[2], v3)
	carol.subscribe(carol.me() + "/#")
	alice.send(user(ls[1]), "1")
	alice.send(user(ls[1]), "2")
	carol.call("group.create", map[string]any{"group": "g-" + ls[2].User, "members": []string{ls[1].User}}, nil)
	carol.send("g/g-"+ls[2].User, "to the group")
	for _, m := range versions {
		b := w.online(w.device(ls[1], "phone-"+m.name), m)
		if m == v5 {
			b.texts(b.me(), "1", "2")
			b.await("the group's text", func(m *message) bool { return m.text() == "to the group" })
			b.Disconnect()
			continue
		}
		// By then another device has had all of it.
		alice.send(user(ls[1]), "3")
		b.texts(b.me(), "3")
	}
}

func TestSecondDeviceGetsWhatNoDeviceHadAndTheRestByHistory(t *testing.T) {
	t.Parallel()
	w := sharedWorld(t)
	ls := w.logins("alice/laptop", "bob/phone")
	alice, phone := w.online(ls[0], v5), w.online(ls[1], v5)
	alice.sendMany(phone.me(), "m", 3)
	phone.texts(phone.me(), "m 1", "m 2", "m 3")
	phone.Disconnect()
	alice.send(phone.me(), "m 4")
	alice.send(phone.me(), "m 5")
	tablet := w.online(w.device(ls[1], "tablet"), v5)
	tablet.texts(tablet.me(), "m 4", "m 5")
	p := tablet.history(map[string]any{"chat": alice.me(), "before": 4})
	var got []string
	for _, e := range p.Messages {
		got = append(got, e.text())
	}
	if len(got) != 3 || got[0] != "m 1" || got[2] != "m 3" || p.Head != 5 || p.More {
		t.Errorf("history %v of %+v", got, p)
	}
	// The first device's inbox is its own.
	phone = w.connect(ls[1], v5)
	phone.texts(phone.me(), "m 4", "m 5")
}

func TestPublishOnlyLoginHasNoInbox(t *testing.T) {
	t.Parallel()
	w := sharedWorld(t)
	ls := w.logins("alice/sensor", "alice/laptop")
	sensor := w.connect(ls[0], v3)
	sensor.send(sensor.me(), "21 °C")
	sensor.Disconnect()
	laptop := w.online(ls[1], v5)
	laptop.texts(laptop.me(), "21 °C")
	for _, d := range devices(laptop) {
		if d.Inbox != (d.Device == "laptop") {
			t.Errorf("%s has an inbox: %v", d.Device, d.Inbox)
		}
	}
}

// deviceInfo is a row of rpc/device.list.
type deviceInfo struct {
	Device                 string
	Created, Seen          int64
	Online, Inbox, Current bool
	ByPassword             bool `json:"by_password"`
}

func devices(c *client) []deviceInfo {
	c.t.Helper()
	var out struct{ Devices []deviceInfo }
	c.call("device.list", nil, &out)
	return out.Devices
}

// Shows MQTT5-3.3.4-9, MQTT5-4.9.0-2.
func TestFlowControl(t *testing.T) {
	t.Parallel()
	w := sharedWorld(t)
	ls := w.logins("alice/laptop", "bob/phone")
	alice := w.online(ls[0], v5)
	o := options(v5)
	o.ManualAck, o.ReceiveMaximum = true, 3
	bob := w.connectWith(ls[1], v5, o)
	bob.inbox()
	alice.sendMany(bob.me(), "m", 10)
	for at := range 10 {
		m := bob.on(bob.me())
		if err := bob.Ping(t.Context()); err != nil { // what was under way is here
			t.Fatal(err)
		}
		flying := 1
		for range bob.Waiting() {
			next, err := bob.next()
			if err != nil {
				t.Fatal(err)
			}
			bob.waiting = append(bob.waiting, next)
		}
		for _, next := range bob.waiting {
			flying += int(next.QoS)
		}
		if flying > 3 {
			t.Fatalf("%d in flight after %d acknowledgements: %s", flying, at, bob.summary())
		}
		if err := bob.Ack(m.Message.ID, 0); err != nil {
			t.Fatal(err)
		}
	}
}

// Shows MQTT5-3.1.2-24.
func TestMaximumPacketSizeCutsTheBody(t *testing.T) {
	t.Parallel()
	w := sharedWorld(t)
	ls := w.logins("alice/laptop", "bob/phone")
	alice := w.online(ls[0], v5)
	o := options(v5)
	o.MaxPacketSize = 1000
	bob := w.connectWith(ls[1], v5, o)
	bob.inbox()
	big, err := json.Marshal(map[string]any{"type": "file", "body": make([]byte, 2000)})
	if err != nil {
		t.Fatal(err)
	}
	alice.send(bob.me(), string(big))
	alice.send(bob.me(), "small")
	if m := bob.on(bob.me()); !m.Cut || m.Body != nil || m.Type != "file" || m.Seq != 1 {
		t.Errorf("envelope %s", m.Payload)
	}
	bob.texts(bob.me(), "small")
}

// Shows MQTT3-3.1.4-2, MQTT5-3.1.4-3.
func TestTheSameDeviceConnectingTwiceIsTakenOver(t *testing.T) {
	t.Parallel()
	w := sharedWorld(t)
	inModes(t, allModes, func(t *testing.T, m mode) {
		w := w.in(t)
		ls := w.logins("alice/laptop", "bob/phone")
		alice, first := w.online(ls[0], m), w.online(ls[1], m)
		alice.send(first.me(), "1")
		first.texts(first.me(), "1")
		second := w.connect(ls[1], m)
		if code := first.ended(); m.version == mqttest.V5 && code != 0x8e {
			t.Errorf("the first connection ended with %#02x, want 0x8e", code)
		}
		alice.send(second.me(), "2")
		second.texts(second.me(), "2")
	})
}
