package e2e_test

import (
	"context"
	"encoding/json"
	"net"
	"strconv"
	"testing"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
	"github.com/eclipse/paho.golang/paho/extensions/rpc"

	"tidings/internal/mqttest/server"
)

// pahoClient connects a device with paho.golang; its deliveries go to the channel.
func pahoClient(t *testing.T, w *world, l server.Login) (*paho.Client, chan *paho.Publish) {
	t.Helper()
	conn, err := net.Dial("tcp", w.MQTT())
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan *paho.Publish, 100)
	c := paho.NewClient(paho.ClientConfig{
		ClientID: l.Device, Conn: conn,
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(p paho.PublishReceived) (bool, error) {
			got <- p.Packet
			return true, nil
		}},
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	expiry := uint32(3600)
	ack, err := c.Connect(ctx, &paho.Connect{
		ClientID: l.Device, KeepAlive: 60, Username: l.User, UsernameFlag: true, Password: []byte(l.Token), PasswordFlag: true,
		Properties: &paho.ConnectProperties{SessionExpiryInterval: &expiry, RequestProblemInfo: true},
	})
	if err != nil || ack.ReasonCode != 0 {
		t.Fatalf("connect: %+v, %v", ack, err)
	}
	t.Cleanup(func() { _ = c.Disconnect(&paho.Disconnect{}) })
	return c, got
}

func pahoNext(t *testing.T, got chan *paho.Publish) *paho.Publish {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	select {
	case p := <-got:
		return p
	case <-ctx.Done():
		t.Fatal("nothing came")
		return nil
	}
}

func TestPahoGolang(t *testing.T) {
	t.Parallel()
	w := sharedWorld(t)
	// paho's request helper takes its answers on {client identifier}/responses, and a client identifier may be anything.
	ls := w.logins("alice/laptop", "bob/phone")
	alice, bob := w.device(ls[0], user(ls[0])+"/rpc/paho"), ls[1]
	ca, gotA := pahoClient(t, w, alice)
	cb, gotB := pahoClient(t, w, bob)
	for c, me := range map[*paho.Client]string{ca: user(alice), cb: user(bob)} {
		ack, err := c.Subscribe(t.Context(), &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: me, QoS: 1}, {Topic: "g/+/#", QoS: 1}}})
		if err != nil || ack.Reasons[0] != 1 || ack.Reasons[1] != 1 {
			t.Fatalf("subscribe: %+v, %v", ack, err)
		}
	}

	t.Run("PUBACK carries id, seq and ts", func(t *testing.T) {
		r, err := ca.Publish(t.Context(), &paho.Publish{Topic: user(bob), QoS: 1, Payload: []byte("hi")})
		if err != nil {
			t.Fatal(err)
		}
		p := pahoNext(t, gotB)
		var e envelope
		if err := json.Unmarshal(p.Payload, &e); err != nil {
			t.Fatal(err)
		}
		told := map[string]string{}
		for _, u := range r.Properties.User {
			told[u.Key] = u.Value
		}
		if told["id"] != e.ID || told["seq"] != "1" || told["ts"] != strconv.FormatInt(e.TS, 10) || len(told) != 3 {
			t.Errorf("PUBACK tells %v, the envelope %s", told, p.Payload)
		}
		t.Run("the Response Topic of a delivery is where to reply", func(t *testing.T) {
			if p.Properties.ResponseTopic != user(alice) {
				t.Fatalf("Response Topic %q", p.Properties.ResponseTopic)
			}
			if _, err := cb.Publish(t.Context(), &paho.Publish{Topic: p.Properties.ResponseTopic, QoS: 1, Payload: []byte("hello")}); err != nil {
				t.Fatal(err)
			}
			var e envelope
			if err := json.Unmarshal(pahoNext(t, gotA).Payload, &e); err != nil || e.text() != "hello" {
				t.Errorf("reply %+v, %v", e, err)
			}
		})
	})

	t.Run("a refusal has a reason code and says why", func(t *testing.T) {
		r, err := ca.Publish(t.Context(), &paho.Publish{Topic: "u/nobody-of-that-name", QoS: 1, Payload: []byte("hi")})
		if err == nil || r == nil || r.ReasonCode != packets.PubackNotAuthorized && r.ReasonCode != packets.PubackTopicNameInvalid {
			t.Errorf("%+v, %v", r, err)
		}
	})

	t.Run("request and response", func(t *testing.T) {
		h, err := rpc.NewHandler(t.Context(), ca)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			answer, err := h.Request(ctx, &paho.Publish{Topic: "rpc/history", QoS: 1, Payload: []byte(`{"chat":"` + user(bob) + `"}`)})
			cancel()
			if err != nil {
				t.Fatal(err)
			}
			var a struct{ Result page }
			if err := json.Unmarshal(answer.Payload, &a); err != nil || len(a.Result.Messages) != 2 || a.Result.Head != 2 {
				t.Errorf("answer %s, %v", answer.Payload, err)
			}
		}
	})
}
