package conformance_test

import (
	"strings"
	"testing"

	"tidings/internal/mqttest"
)

// Shows MQTT3-3.1.0-1, MQTT3-3.2.0-1, MQTT5-3.1.0-1, MQTT5-3.2.0-1, MQTT5-3.14.0-1.
func TestFirstPacketIsConnect(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		for name, b := range map[string][]byte{
			"PINGREQ":    {0xc0, 0},
			"PUBLISH":    mqttest.AppendPublish(nil, version, &mqttest.Publish{Topic: "a", QoS: 1, ID: 1}),
			"SUBSCRIBE":  mqttest.AppendSubscribe(nil, version, 1, nil, []mqttest.Subscription{{Filter: "a"}}),
			"DISCONNECT": {0xe0, 0},
			"AUTH":       {0xf0, 0},
			"CONNACK":    {0x20, 2, 0, 0},
		} {
			p := dial(t, version)
			p.send(b)
			if got := p.rest(); len(got) > 0 {
				t.Errorf("%s first: answered %v", name, got)
			}
		}
	})
}

// Shows MQTT3-3.1.0-2, MQTT3-4.8.0-1, MQTT5-3.1.0-2, MQTT5-3.2.0-2, MQTT5-4.13.1-1.
func TestSecondConnect(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		p := connect(t, version)
		p.refused("second CONNECT", mqttest.AppendConnect(nil, &mqttest.Options{Version: version, ClientID: p.id, Clean: true}), 0x82)
	})
}

// connectOf is a CONNECT of version with the given name, level and flags, no properties, and what follows them.
func connectOf(name string, level, flags byte, payload ...[]byte) []byte {
	parts := [][]byte{str(name), {level, flags, 0, 60}}
	if level >= 5 {
		parts = append(parts, []byte{0})
	}
	return packetOf(0x10, append(parts, payload...)...)
}

// Shows MQTT3-3.1.2-1, MQTT3-3.1.2-2, MQTT3-3.2.2-5, MQTT5-3.1.2-1, MQTT5-3.1.2-2, MQTT5-3.2.2-7.
func TestProtocolNameAndLevel(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		level byte
		want  string // the CONNACKs that may come, in hex
	}{
		{"mqtt", 4, ""},
		{"MQTX", 4, ""},
		{"MQTT ", 4, ""},
		{"", 4, ""},
		{"mqtt", 5, "2003008400"},
		{"MQTX", 5, "2003008400"},
		{"MQTT", 0, "20020001"},
		{"MQTT", 3, "20020001"},
		{"MQTT", 6, "2003008400 20020001"},
		{"MQTT", 0x84, "20020001 2003008400"},
		{"MQTT", 255, "2003008400 20020001"},
	} {
		p := dial(t, c.level)
		p.send(connectOf(c.name, c.level, 2, str(unique())))
		said := ""
		for _, k := range p.rest() {
			said += strings.ReplaceAll(k.String(), " … ", "")[len("type 2: "):]
		}
		if said == "" && !strings.HasPrefix(c.want, "20020001") {
			continue // MQTT 5 leaves the CONNACK to the server
		}
		ok := said == "" && c.want == ""
		for w := range strings.FieldsSeq(c.want) {
			ok = ok || said == "20"+w[4:]
		}
		if !ok {
			t.Errorf("%q level %d: answered %q, want %q", c.name, c.level, said, c.want)
		}
	}
}

// Shows MQTT3-3.1.2-3, MQTT3-3.1.2-9, MQTT3-3.1.2-11, MQTT3-3.1.2-13, MQTT3-3.1.2-14, MQTT3-3.1.2-15.
// Shows MQTT3-3.1.2-18, MQTT3-3.1.2-19, MQTT3-3.1.2-20, MQTT3-3.1.2-21, MQTT3-3.1.2-22, MQTT3-3.1.3-1, MQTT3-3.1.3-3.
// Shows MQTT3-3.1.4-1, MQTT3-3.2.2-6, MQTT5-3.1.2-3, MQTT5-3.1.2-9, MQTT5-3.1.2-11, MQTT5-3.1.2-12, MQTT5-3.1.2-13.
// Shows MQTT5-3.1.2-16, MQTT5-3.1.2-17, MQTT5-3.1.2-18, MQTT5-3.1.2-19, MQTT5-3.1.3-1, MQTT5-3.1.3-3, MQTT5-3.1.4-1.
func TestConnectFlagsAndPayloadAgree(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		id, text := str(unique()), str("text")
		will := [][]byte{str(unique()), text}
		if version == v5 {
			will = append([][]byte{{0}}, will...)
		}
		const clean, flag, user, password = 0x02, 0x04, 0x80, 0x40
		cases := []struct {
			name    string
			flags   byte
			payload [][]byte
		}{
			{"reserved flag", clean | 1, [][]byte{id}},
			{"no client identifier", clean, nil},
			{"client identifier cut short", clean, [][]byte{id[:5]}},
			{"will QoS 1 without a will", clean | 0x08, [][]byte{id}},
			{"will QoS 2 without a will", clean | 0x10, [][]byte{id}},
			{"will retain without a will", clean | 0x20, [][]byte{id}},
			{"will QoS 3", clean | flag | 0x18, append([][]byte{id}, will...)},
			{"will flag and no will", clean | flag, [][]byte{id}},
			{"will flag and a topic alone", clean | flag, append([][]byte{id}, will[:len(will)-1]...)},
			{"a will and no will flag", clean, append([][]byte{id}, will...)},
			{"user name flag and no user name", clean | user, [][]byte{id}},
			{"a user name and no user name flag", clean, [][]byte{id, text}},
			{"password flag and no password", clean | user | password, [][]byte{id, text}},
			{"a password and no password flag", clean | user, [][]byte{id, text, text}},
			{"something behind the last field", clean, [][]byte{id, {0}}},
		}
		if version == v3 {
			cases = append(cases, struct {
				name    string
				flags   byte
				payload [][]byte
			}{"a password without a user name", clean | password, [][]byte{id, text}})
		}
		for _, c := range cases {
			p := dial(t, version)
			p.send(connectOf("MQTT", version, c.flags, c.payload...))
			p.turnedAway(c.name, 0x81, 0x82)
		}
	})
}

// turnedAway checks that a CONNECT ended the connection: with nothing on MQTT 3.1.1, with a CONNACK of one of the codes, or
// nothing, on MQTT 5.
func (p *peer) turnedAway(what string, codes ...byte) {
	p.t.Helper()
	said := p.rest()
	if len(said) == 0 {
		return
	}
	if len(said) > 1 || said[0].Type() != mqttest.CONNACK || p.version == v3 {
		p.t.Errorf("%s: answered %v", what, said)
		return
	}
	k, err := said[0].ConnAck(p.version)
	if err != nil || k.SessionPresent || strings.IndexByte(string(codes), k.Code) < 0 {
		p.t.Errorf("%s: CONNACK %#02x, session present %v, %v", what, k.Code, k.SessionPresent, err)
	}
}

// badStrings are no strings of MQTT.
var badStrings = map[string]string{
	"a stray continuation byte": "a\x80",
	"an overlong form":          "\xc0\xaf",
	"a surrogate":               "\xed\xa0\x80",
	"beyond U+10FFFF":           "\xf4\x90\x80\x80",
	"cut short":                 "\xe2\x82",
	"U+0000":                    "a\x00b",
}

// Shows MQTT3-1.5.3-1, MQTT3-1.5.3-2, MQTT3-3.1.3-4, MQTT3-3.1.3-10, MQTT3-3.1.3-11.
// Shows MQTT5-1.5.4-1, MQTT5-1.5.4-2, MQTT5-1.5.7-1, MQTT5-3.1.3-4, MQTT5-3.1.3-11, MQTT5-3.1.3-12.
func TestConnectStrings(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		for name, bad := range badStrings {
			for where, o := range map[string]mqttest.Options{
				"client identifier":   {ClientID: bad},
				"will topic":          {ClientID: unique(), Will: &mqttest.Will{Topic: bad}},
				"user name":           {ClientID: unique(), User: bad},
				"user property name":  {ClientID: unique(), Props: (&mqttest.Properties{}).AddUser(bad, "x")},
				"user property value": {ClientID: unique(), Props: (&mqttest.Properties{}).AddUser("x", bad)},
			} {
				if version == v3 && o.Props != nil {
					continue
				}
				o.Version, o.Clean = version, true
				p := dial(t, version)
				p.send(mqttest.AppendConnect(nil, &o))
				p.turnedAway(where+" with "+name, 0x81, 0x85, 0x90)
			}
		}
	})
}

// Shows MQTT3-3.1.3-5, MQTT3-3.1.4-4, MQTT5-3.1.3-5, MQTT5-3.1.4-5, MQTT5-3.2.2-1, MQTT5-3.2.2-8.
func TestClientIdentifiersThatEveryServerTakes(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		for _, id := range []string{"a", "Z", "0", "0123456789abcdefghijklm", "nopqrstuvwxyzABCDEFGHIJ", "KLMNOPQRSTUVWXYZ"} {
			p := dial(t, version)
			p.send(mqttest.AppendConnect(nil, &mqttest.Options{Version: version, ClientID: id, Clean: true}))
			k := p.packet(mqttest.CONNACK)
			if k.Body[0] != 0 || k.Body[1] != 0 {
				t.Errorf("%q: CONNACK %v", id, k)
			}
			p.sync()
		}
	})
}

// Shows MQTT3-3.1.3-6, MQTT3-3.1.3-7, MQTT3-3.1.3-8, MQTT3-3.2.2-4, MQTT3-3.2.2-5.
func TestEmptyClientIdentifier311(t *testing.T) {
	t.Parallel()
	a, b := connect(t, v3, as("")), connect(t, v3, as(""))
	topic := unique()
	a.subscribe(qos(1), topic)
	b.say(topic, "two clients")
	a.take("two clients")
	p := dial(t, v3)
	p.send(mqttest.AppendConnect(nil, &mqttest.Options{Version: v3}))
	if k := p.connack(); k.Code != 2 || k.SessionPresent {
		t.Errorf("not clean: CONNACK %#02x, session present %v", k.Code, k.SessionPresent)
	}
	p.ended()
}

// Shows MQTT5-3.1.3-6, MQTT5-3.1.3-7, MQTT5-3.2.2-16.
func TestEmptyClientIdentifier5(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	var last *peer
	for range 5 {
		last = connect(t, v5, lasting, as(""))
		if last.id == "" || seen[last.id] {
			t.Fatalf("assigned client identifier %q", last.id)
		}
		seen[last.id] = true
	}
	last.disconnect()
	if k := last.again().ack; !k.SessionPresent {
		t.Error("the assigned identifier does not name the session")
	} else if id, ok := k.Props.Strings[mqttest.PropAssignedClientID]; ok {
		t.Errorf("identifier %q assigned to a client that has one", id)
	}
}

// Shows MQTT3-3.1.4-5, MQTT5-3.1.4-6.
func TestNothingIsProcessedBehindARejectedConnect(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		topic := unique()
		watch := connect(t, version)
		watch.subscribe(qos(1), topic)
		o := mqttest.Options{Version: version, ClientID: ""}
		if version == v5 {
			o.Clean, o.ClientID, o.Props = true, unique(), (&mqttest.Properties{}).SetString(mqttest.PropAuthMethod, "no such method")
		}
		p := dial(t, version)
		p.send(mqttest.AppendConnect(nil, &o), mqttest.AppendPublish(nil, version, &mqttest.Publish{Topic: topic, Payload: []byte("behind")}))
		if k := p.rest(); len(k) != 1 || k[0].Type() != mqttest.CONNACK || k[0].Body[1] == 0 {
			t.Errorf("answered %v", k)
		}
		connect(t, version).say(topic, "end")
		watch.take("end")
	})
}

// Shows MQTT3-3.1.4-2, MQTT5-3.1.4-3.
func TestTakeover(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		first := connect(t, version, lasting)
		second := first.again()
		if code := first.ended(); version == v5 && code != 0x8e {
			t.Errorf("the first connection ended with %#02x, want 0x8e", code)
		}
		second.sync()
	})
}

// Shows MQTT5-3.1.2-28.
func TestNoResponseInformationUnasked(t *testing.T) {
	t.Parallel()
	for _, change := range [][]func(*mqttest.Options){nil, {with(mqttest.PropRequestResponseInfo, 0)}} {
		if info, ok := connect(t, v5, change...).ack.Props.Strings[mqttest.PropResponseInfo]; ok {
			t.Errorf("response information %q", info)
		}
	}
}
