package broker_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"tidings/broker"
	"tidings/internal/mqttest"
)

// servePlain starts a server whose address takes anybody.
func servePlain(t *testing.T, m mode, cfg broker.Config) *server {
	t.Helper()
	return serveBy(t, (*broker.Server).ServeOpen, m, cfg, newFakeEngine(), &fakeRPC{})
}

// Shows MQTT3-3.1.3-5, MQTT3-3.1.3-6, MQTT3-3.1.3-7, MQTT5-3.1.3-5.
func TestConformanceListenerTakesAnybody(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		s := servePlain(t, m, broker.Config{})
		long := strings.Repeat("ä", 32_767)
		for _, client := range []string{"c", "with space", "Käse", "\x07", "", long, "x" + long} {
			for _, user := range []string{"", "alice", "Not A User"} {
				o := mqttest.Options{Version: m.version, ClientID: client, User: user, Clean: true}
				if user != "" {
					o.Password = "whatever"
				}
				c := s.raw()
				c.login(o)
				c.Close()
			}
		}
		if m.version == mqttest.V311 { // an empty identifier needs a clean session [MQTT-3.1.3-8]
			_, err := s.tryDial("", "", func(o *mqttest.Options) { o.Clean = false })
			if r, ok := errors.AsType[*mqttest.Refused](err); !ok || r.ConnAck.Code != 2 {
				t.Errorf("empty client identifier, not clean: %v", err)
			}
		}
	})
}

func TestConformanceListenerOpensAllTopicsButTheChats(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		s := servePlain(t, m, broker.Config{})
		anybody := func(o *mqttest.Options) { o.User, o.Password = "", "" }
		c := s.dial("", "c", anybody)
		for _, topic := range []string{"a", "/", "rpc/chat.list", "x/u/bob", "sensors/1"} {
			if g, err := c.Subscribe(t.Context(), topic); err != nil || g.Codes[0] > 2 {
				t.Fatal(topic, g, err)
			}
			if a, err := c.PublishWait(t.Context(), &mqttest.Publish{Topic: topic, Payload: []byte("\xff"), QoS: 1}); err != nil || a.Code != 0 {
				t.Fatal(topic, a, err)
			}
			if got, err := c.Next(t.Context()); err != nil || string(got.Topic) != topic || string(got.Payload) != "\xff" {
				t.Errorf("%s: got %+v %v", topic, got, err)
			}
		}
		if a, err := c.PublishWait(t.Context(), &mqttest.Publish{Topic: "u/bob", Payload: []byte("x"), QoS: 1}); err != nil || m.version == mqttest.V5 && a.Code != 0x87 {
			t.Errorf("a chat: %v %v", a, err)
		}
		_, err := s.tryDial("", "d", anybody, func(o *mqttest.Options) { o.Will = &mqttest.Will{Topic: "g/team"} })
		want := map[byte]byte{mqttest.V311: 5, mqttest.V5: 0x87}[m.version]
		if r, ok := errors.AsType[*mqttest.Refused](err); !ok || r.ConnAck.Code != want {
			t.Errorf("will on a chat: %v", err)
		}
	})
}

func TestConformanceListenerHasItsOwnLimits(t *testing.T) {
	s := servePlain(t, mode{version: mqttest.V5, cfg: func(*broker.Config) {}}, broker.Config{MaximumSessionExpiry: time.Hour})
	connect := func(client string, keepAlive uint16) mqttest.Properties {
		return s.dial("", client, func(o *mqttest.Options) {
			o.User, o.Password, o.KeepAlive, o.SessionExpiry = "", "", keepAlive, 1_000_000
			o.Props = (&mqttest.Properties{}).SetNumber(mqttest.PropRequestResponseInfo, 1)
		}).ConnAck().Props
	}
	p := connect("", 10)
	if n, ok := p.Number(mqttest.PropServerKeepAlive); ok {
		t.Errorf("server keep alive for 10: %d", n)
	}
	for _, asked := range []uint16{0, 61, 65535} {
		p := connect("k", asked)
		if n, _ := p.Number(mqttest.PropServerKeepAlive); n != 60 {
			t.Errorf("server keep alive for %d: %d", asked, n)
		}
	}
	if n, _ := p.Number(mqttest.PropTopicAliasMaximum); n != 1024 {
		t.Errorf("topic alias maximum %d", n)
	}
	for _, id := range []byte{mqttest.PropSessionExpiry, mqttest.PropSharedAvailable} {
		if n, ok := p.Number(id); ok {
			t.Errorf("property %#x is %d", id, n)
		}
	}
	if s, ok := p.Strings[mqttest.PropResponseInfo]; ok {
		t.Errorf("response information %q", s)
	}
	first := p.Strings[mqttest.PropAssignedClientID]
	second := connect("", 60).Strings[mqttest.PropAssignedClientID]
	if !strings.HasPrefix(first, "auto-") || !strings.HasPrefix(second, "auto-") || first == second {
		t.Errorf("assigned client identifiers %q, %q", first, second)
	}
	if id, ok := connect("c", 60).Strings[mqttest.PropAssignedClientID]; ok {
		t.Errorf("assigned client identifier %q", id)
	}
}
