package broker_test

import (
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"tidings/broker"
	"tidings/delivery"
	"tidings/hooks"
	"tidings/internal/mqttest"
)

// Each is a first packet, and all that the server sends before it closes.
var badConnects = []struct{ name, send, want string }{
	{"first packet is PINGREQ", "c0 00", ""},
	{"first packet is PUBLISH", "30 03 00 01 61", ""},
	{"first packet is an HTTP request", "47 45 54 20 2f 20 48 54 54 50", ""},
	{"CONNECT flags", "11 00", ""},
	{"empty", "10 00", ""},
	{"larger than 64 KiB", "10 81 80 04", ""},
	{"other protocol name", "10 0d 00 04 4d 51 54 58 04 02 00 00 00 01 61", ""},
	{"MQTT 3.1", "10 0f 00 06 4d 51 49 73 64 70 03 02 00 3c 00 01 61", "20020001"},
	{"level 3", "10 0d 00 04 4d 51 54 54 03 02 00 3c 00 01 61", "20020001"},
	{"level 6", "10 0e 00 04 4d 51 54 54 06 02 00 3c 00 00 01 61", "2003008400"},
	{"3.1.1 cut short", "10 0b 00 04 4d 51 54 54 04 02 00 3c 00", ""},
	{"3.1.1 with a tail", "10 0e 00 04 4d 51 54 54 04 02 00 3c 00 01 61 00", ""},
	{"3.1.1 reserved flag", "10 0d 00 04 4d 51 54 54 04 03 00 3c 00 01 61", ""},
	{"3.1.1 will QoS without a will", "10 0d 00 04 4d 51 54 54 04 0a 00 3c 00 01 61", ""},
	{"3.1.1 will retain without a will", "10 0d 00 04 4d 51 54 54 04 22 00 3c 00 01 61", ""},
	{"3.1.1 will QoS 3", "10 0d 00 04 4d 51 54 54 04 1e 00 3c 00 01 61", ""},
	{"3.1.1 password without a user name", "10 10 00 04 4d 51 54 54 04 42 00 3c 00 01 61 00 01 70", ""},
	{"3.1.1 empty client identifier, not clean", "10 0f 00 04 4d 51 54 54 04 80 00 3c 00 00 00 01 61", "20020002"},
	{"3.1.1 client identifier not ASCII", "10 11 00 04 4d 51 54 54 04 82 00 3c 00 02 c3 a4 00 01 61", "20020002"},
	{"3.1.1 without a user name", "10 0d 00 04 4d 51 54 54 04 02 00 3c 00 01 61", "20020004"},
	{"3.1.1 user name not UTF-8", "10 10 00 04 4d 51 54 54 04 82 00 3c 00 01 61 00 01 ff", ""},
	{"3.1.1 will topic with a wildcard", "10 17 00 04 4d 51 54 54 04 86 00 3c 00 01 61 00 03 75 2f 2b 00 00 00 01 61", "20020005"},
	{"5 reserved flag", "10 0e 00 04 4d 51 54 54 05 03 00 3c 00 00 01 61", "2003008100"},
	{"5 properties missing", "10 0a 00 04 4d 51 54 54 05 02 00 3c", "2003008100"},
	{"5 receive maximum 0", "10 11 00 04 4d 51 54 54 05 02 00 3c 03 21 00 00 00 01 61", "2003008200"},
	{"5 maximum packet size 0", "10 13 00 04 4d 51 54 54 05 02 00 3c 05 27 00 00 00 00 00 01 61", "2003008200"},
	{"5 session expiry twice", "10 18 00 04 4d 51 54 54 05 02 00 3c 0a 11 00 00 00 01 11 00 00 00 01 00 01 61", "2003008200"},
	{"5 request problem information 2", "10 10 00 04 4d 51 54 54 05 02 00 3c 02 17 02 00 01 61", "2003008200"},
	{"5 property of PUBLISH", "10 10 00 04 4d 51 54 54 05 02 00 3c 02 01 00 00 01 61", "2003008100"},
	{"5 authentication data without a method", "10 12 00 04 4d 51 54 54 05 02 00 3c 04 16 00 01 00 00 01 61", "2003008200"},
	{"5 authentication method", "10 12 00 04 4d 51 54 54 05 02 00 3c 04 15 00 01 78 00 01 61", "2003008c00"},
	{"5 client identifier with a control character", "10 11 00 04 4d 51 54 54 05 82 00 3c 00 00 01 07 00 01 61", "2003008500"},
	{"5 client identifier not UTF-8", "10 11 00 04 4d 51 54 54 05 82 00 3c 00 00 01 ff 00 01 61", "2003008100"},
	{"5 without a user name", "10 0e 00 04 4d 51 54 54 05 02 00 3c 00 00 01 61", "2003008600"},
	{"5 user name that nobody can have", "10 11 00 04 4d 51 54 54 05 82 00 3c 00 00 01 61 00 01 41", "2003008600"},
	{"5 will topic with a wildcard", "10 18 00 04 4d 51 54 54 05 86 00 3c 00 00 01 61 00 00 03 75 2f 2b 00 00 00 01 61", "2003009000"},
	{"5 will payload not UTF-8, as it says", "10 19 00 04 4d 51 54 54 05 86 00 3c 00 00 01 61 02 01 01 00 01 78 00 01 ff 00 01 61", "2003009900"},
	{"5 will response topic with a wildcard", "10 1b 00 04 4d 51 54 54 05 86 00 3c 00 00 01 61 04 08 00 01 23 00 01 78 00 01 79 00 01 61", "2003008200"},
	{"5 takes no CONNACK of that size", "10 15 00 04 4d 51 54 54 05 02 00 3c 05 27 00 00 00 04 00 03 61 62 63", ""},
	{"5 will property twice", "10 19 00 04 4d 51 54 54 05 86 00 3c 00 00 01 61 04 01 00 01 00 00 01 78 00 00 00 01 61", "2003008200"},
}

// Shows MQTT3-3.1.0-1, MQTT3-3.1.2-1, MQTT3-3.1.2-2, MQTT3-3.1.2-3, MQTT3-3.1.2-13, MQTT3-3.1.2-14.
// Shows MQTT3-3.1.2-15, MQTT3-3.1.2-22, MQTT3-3.1.3-8, MQTT3-3.1.3-9, MQTT3-3.1.3-11, MQTT3-3.1.4-1.
// Shows MQTT3-3.2.2-5, MQTT3-3.2.2-6, MQTT5-3.1.0-1, MQTT5-3.1.2-2, MQTT5-3.1.2-3, MQTT5-3.1.3-4.
// Shows MQTT5-3.1.3-8, MQTT5-3.1.4-1, MQTT5-3.1.4-2, MQTT5-3.2.2-7, MQTT5-4.12.0-1.
func TestBadConnectIsAnsweredAndClosed(t *testing.T) {
	for _, portable := range []bool{false, true} {
		s := serve(t, mode{}, broker.Config{Portable: portable}, newFakeEngine(), nil)
		for _, p := range badConnects {
			for _, step := range []int{0, 1} {
				c := s.raw()
				c.send(unhex(t, p.send), step)
				if got := c.rest(); got != p.want {
					t.Errorf("%s (portable %v, steps of %d): answered %q, want %q", p.name, portable, step, got, p.want)
				}
			}
		}
	}
}

// Shows MQTT5-3.1.4-2, MQTT5-3.2.2-8.
func TestLoginErrorsHaveTheirCodes(t *testing.T) {
	cases := []struct {
		err    error
		v3, v5 byte
	}{
		{hooks.ErrBadCredentials, 4, 0x86},
		{hooks.ErrBusy, 3, 0x9f},
		{hooks.ErrUnavailable, 3, 0x88},
		{errors.New("disk"), 3, 0x88},
		{&delivery.Refusal{Code: delivery.CodeNotAllowed}, 5, 0x87},
		{&delivery.Refusal{Code: delivery.CodeQuota}, 3, 0x97},
		{&delivery.Refusal{Code: delivery.CodeUnavailable, Temporary: true}, 3, 0x88},
	}
	run(t, func(t *testing.T, m mode) {
		e := newFakeEngine()
		e.login = func(l *hooks.Login) error {
			i, err := strconv.Atoi(l.Client)
			if err != nil {
				return err
			}
			return cases[i].err
		}
		s := serve(t, m, broker.Config{}, e, nil)
		for i, c := range cases {
			_, got := s.tryDial("alice", strconv.Itoa(i))
			want := c.v5
			if m.version == mqttest.V311 {
				want = c.v3
			}
			if r, ok := errors.AsType[*mqttest.Refused](got); !ok || r.ConnAck.Code != want {
				t.Errorf("%v: got %v, want %#x", c.err, got, want)
			}
		}
	})
}

// Shows MQTT5-3.1.3-6, MQTT5-3.1.3-7, MQTT5-3.2.2-16.
func TestConnackTellsTheLimits(t *testing.T) {
	m := mode{version: mqttest.V5}
	s := serve(t, m, broker.Config{TopicAliasMaximum: 7}, newFakeEngine(), nil)
	c := s.dial("alice", "", func(o *mqttest.Options) { o.KeepAlive = 5; o.User = "alice?SDK=JavaV2&Version=1"; o.Password = "alice" })
	p := c.ConnAck().Props
	for id, want := range map[byte]uint32{
		mqttest.PropReceiveMaximum: 1024, mqttest.PropMaximumPacketSize: 640 << 10, mqttest.PropTopicAliasMaximum: 7,
		mqttest.PropSharedAvailable: 0, mqttest.PropServerKeepAlive: 30,
	} {
		if got, ok := p.Number(id); !ok || got != want {
			t.Errorf("property %#x: %d %v, want %d", id, got, ok, want)
		}
	}
	for _, id := range []byte{mqttest.PropMaximumQoS, mqttest.PropRetainAvailable, mqttest.PropWildcardAvailable, mqttest.PropSubscriptionAvailable, mqttest.PropSessionExpiry} {
		if n, ok := p.Number(id); ok {
			t.Errorf("property %#x is %d, where the default holds", id, n)
		}
	}
	if info, ok := p.Strings[mqttest.PropResponseInfo]; ok {
		t.Errorf("response information %q, which nobody has asked for", info)
	}
	if id := p.Strings[mqttest.PropAssignedClientID]; !strings.HasPrefix(id, "guest-") {
		t.Errorf("assigned client identifier %q", id)
	}
	if k, _ := s.dial("alice", "a").ConnAck().Props.Number(mqttest.PropServerKeepAlive); k != 1200 {
		t.Errorf("server keep alive for 0: %d", k)
	}
	if k, ok := s.dial("alice", "b", func(o *mqttest.Options) { o.KeepAlive = 60 }).ConnAck().Props.Number(mqttest.PropServerKeepAlive); ok {
		t.Errorf("server keep alive for 60: %d", k)
	}
}

// Shows MQTT3-3.1.4-2, MQTT5-3.1.4-3.
func TestSameDeviceTwice(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		s := serve(t, m, broker.Config{}, newFakeEngine(), nil)
		first := s.dial("alice", "phone")
		second := s.dial("alice", "phone")
		err := first.Err()
		if d, ok := errors.AsType[*mqttest.Disconnected](err); m.version == mqttest.V5 && (!ok || d.Code != 0x8e) {
			t.Errorf("first connection ended with %v", err)
		}
		if err := second.Ping(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// Shows MQTT5-3.1.2-28.
func TestConnackTellsWhatIsAskedFor(t *testing.T) {
	s := serve(t, mode{version: mqttest.V5}, broker.Config{SharedSubscriptions: true, MaximumSessionExpiry: time.Hour}, newFakeEngine(), &fakeRPC{})
	ask := func(n uint32, change func(o *mqttest.Options)) mqttest.Properties {
		return s.dial("alice", "phone", func(o *mqttest.Options) {
			o.Props = (&mqttest.Properties{}).SetNumber(mqttest.PropRequestResponseInfo, n)
			o.SessionExpiry = 7200
			change(o)
		}).ConnAck().Props
	}
	p := ask(1, func(*mqttest.Options) {})
	if got := p.Strings[mqttest.PropResponseInfo]; got != "u/alice/rpc/" {
		t.Errorf("response information %q", got)
	}
	if n, ok := p.Number(mqttest.PropSharedAvailable); ok {
		t.Errorf("shared subscriptions available: %d", n)
	}
	if n, _ := p.Number(mqttest.PropSessionExpiry); n != 3600 {
		t.Errorf("session expiry interval %d", n)
	}
	for name, q := range map[string]mqttest.Properties{
		"said no":       ask(0, func(*mqttest.Options) {}),
		"has no room":   ask(1, func(o *mqttest.Options) { o.MaxPacketSize = 30 }),
		"did not speak": s.dial("alice", "phone").ConnAck().Props,
	} {
		if got, ok := q.Strings[mqttest.PropResponseInfo]; ok {
			t.Errorf("a client that %s gets response information %q", name, got)
		}
	}
	_, err := s.tryDial("alice", "phone", func(o *mqttest.Options) { o.MaxPacketSize = 12 })
	if r, ok := errors.AsType[*mqttest.Refused](err); !ok || r.ConnAck.Code != 0x95 {
		t.Errorf("a client that does not take the limits: %v", err)
	}
}

func TestAnswerOverTheClientsMaximumPacketSizeEndsTheConnection(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		if m.version == mqttest.V311 {
			return
		}
		s := serve(t, m, broker.Config{}, newFakeEngine(), nil)
		c := s.raw()
		c.login(mqttest.Options{Version: m.version, ClientID: "c", User: "alice", Password: "alice", Clean: true, MaxPacketSize: 30})
		subs := make([]mqttest.Subscription, 26)
		for i := range subs {
			subs[i].Filter = "u/alice"
		}
		c.send(mqttest.AppendSubscribe(nil, m.version, 1, nil, subs[:25]), 0)
		if first, body := c.packet(); first != 0x90 || len(body) != 28 {
			t.Errorf("%#x %x", first, body)
		}
		c.send(mqttest.AppendSubscribe(nil, m.version, 1, nil, subs), 0)
		if got := c.rest(); got != "e0028300" {
			t.Errorf("answered %s", got)
		}
	})
}
