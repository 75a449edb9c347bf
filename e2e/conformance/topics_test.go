package conformance_test

import (
	"strings"
	"testing"

	"tidings/internal/mqttest"
)

// Shows MQTT3-3.3.2-3, MQTT3-4.7.1-2, MQTT3-4.7.1-3, MQTT3-4.7.2-1, MQTT3-4.7.3-4.
// Shows MQTT5-3.3.2-3, MQTT5-4.7.1-1, MQTT5-4.7.1-2, MQTT5-4.7.2-1, MQTT5-4.7.3-4.
func TestMatching(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		// Below a level of the case's own; "end" matches every filter of its case.
		for _, c := range []struct {
			filter string
			match  string
			not    string
		}{
			{"#", "a a/b / // a/b/c/ +empty", ""},
			{"a/#", "a a/ a/b a/b/c", "A/b b ab/c /a"},
			{"+", "a b é", "a/b a/ /a"},
			{"+/+", "a/b / a/ /b", "a a/b/c"},
			{"+/b", "a/b /b", "a/b/ a/c b"},
			{"a/+", "a/b a/ a/$x", "a a/b/c A/b"},
			{"a/+/c", "a/b/c a//c", "a/c a/b/C a/b/c/d"},
			{"a/+/#", "a/b a/b/c a/", "a b/a"},
			{"/", "/", "a // +empty"},
			{"a", "a", "A a/ /a aa"},
			{"\u00e9", "\u00e9", "e\u0301 \u00c9"}, // neither normal forms nor case are made equal
			{"\ufeffa", "\ufeffa", "a"},
			{"a//b", "a//b", "a/b a///b"},
			{"$x/+", "$x/a", "x/a"},
		} {
			base := unique()
			s := fresh(t, version, qos(1), base+"/"+c.filter, base+"-end")
			p := connect(t, version)
			names := func(list string) []string {
				var out []string
				for n := range strings.FieldsSeq(list) {
					out = append(out, base+"/"+strings.ReplaceAll(n, "+empty", ""))
				}
				return out
			}
			for _, topic := range names(c.not) {
				p.say(topic, "must not come")
			}
			for _, topic := range names(c.match) {
				p.say(topic, topic)
				if m := s.take(topic); string(m.Topic) != topic {
					t.Errorf("%s: came as %s", topic, m.Topic)
				}
			}
			p.say(base+"-end", "end")
			s.take("end")
		}
	})
}

// Shows MQTT3-4.7.2-1, MQTT5-4.7.2-1.
func TestDollarTopicsAreBehindNoWildcard(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		name := unique()
		all := fresh(t, version, qos(1), "+/"+name+"/#")
		named := fresh(t, version, qos(1), "$"+name+"/"+name+"/#")
		p := connect(t, version)
		if code := p.published(mqttest.Publish{Topic: "$" + name + "/" + name, Payload: []byte("hidden"), QoS: 1}); code < 0x80 {
			named.take("hidden")
		}
		p.say("x/"+name, "seen")
		all.take("seen")
	})
}

// Shows MQTT3-4.7.1-2, MQTT3-4.7.1-3, MQTT3-4.7.3-1, MQTT5-4.7.1-1, MQTT5-4.7.1-2, MQTT5-4.7.3-1.
func TestFiltersThatAreNone(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		for _, filter := range []string{"a/#/b", "a#", "a/b#", "#/", "##", "a+", "+a", "a/+b/c", "a/b+", "++", "#a", ""} {
			p := connect(t, version)
			p.send(mqttest.AppendSubscribe(nil, version, 3, nil, []mqttest.Subscription{{Filter: filter, Options: 1}}))
			k, err := p.read()
			if err != nil {
				continue // closing is an answer, too
			}
			if k.Type() == mqttest.DISCONNECT {
				continue
			}
			id, g, err := k.Granted(version)
			if err != nil || k.Type() != mqttest.SUBACK || id != 3 || len(g.Codes) != 1 || g.Codes[0] < 0x80 {
				t.Errorf("%q: answered %v", filter, k)
			}
		}
	})
}

// Shows MQTT3-1.5.3-3, MQTT3-4.7.3-3, MQTT5-1.5.4-3, MQTT5-4.7.3-3.
func TestUnusualNames(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		base := unique()
		s, p := fresh(t, version, qos(1), base+"/+"), connect(t, version)
		for _, name := range []string{"\ufeff", "a\ufeffb", " ", "ä€😀", "~!@%^&*()", strings.Repeat("x", 1000)} {
			p.say(base+"/"+name, "x")
			if m := s.take("x"); string(m.Topic) != base+"/"+name {
				t.Errorf("%q came as %q", name, m.Topic)
			}
		}
		// The longest name that a packet can hold is taken or refused, and the connection lives.
		long := base + "/" + strings.Repeat("y", 65535-len(base)-1)
		if code := p.published(mqttest.Publish{Topic: long, Payload: []byte("long"), QoS: 1}); version == v5 && code < 0x80 {
			if m := s.take("long"); string(m.Topic) != long {
				t.Errorf("came as %d bytes", len(m.Topic))
			}
		}
		if code := p.suback(qos(1), nil, long)[0]; code != 1 && code < 0x80 {
			t.Errorf("filter of 65,535 bytes: %#02x", code)
		}
		p.sync()
	})
}
