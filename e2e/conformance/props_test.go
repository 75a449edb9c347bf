package conformance_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tidings/internal/mqttest"
)

// Shows MQTT5-3.3.2-4, MQTT5-3.3.2-15, MQTT5-3.3.2-16, MQTT5-3.3.2-17, MQTT5-3.3.2-18, MQTT5-3.3.2-20.
func TestPropertiesAreForwarded(t *testing.T) {
	t.Parallel()
	topic := unique()
	s, absent := fresh(t, v5, qos(2), topic), connect(t, v5, lasting)
	absent.subscribe(qos(2), topic)
	absent.drop()
	three := fresh(t, v3, qos(2), topic)
	p := connect(t, v5)
	for i, props := range []*mqttest.Properties{
		{},
		(&mqttest.Properties{}).SetNumber(mqttest.PropPayloadFormat, 0),
		(&mqttest.Properties{}).SetNumber(mqttest.PropPayloadFormat, 1),
		(&mqttest.Properties{}).SetString(mqttest.PropContentType, "").SetString(mqttest.PropCorrelationData, ""),
		(&mqttest.Properties{}).SetString(mqttest.PropContentType, "text/ä").SetString(mqttest.PropResponseTopic, "$x/ /ä"),
		(&mqttest.Properties{}).SetString(mqttest.PropCorrelationData, "\x00\x01\xff"+strings.Repeat("c", 3000)),
		(&mqttest.Properties{}).AddUser("b", "1").AddUser("a", "2").AddUser("b", "3").AddUser("", "").AddUser("a", "2"),
	} {
		text := fmt.Sprint(i)
		p.publish(mqttest.Publish{Topic: topic, Payload: []byte(text), QoS: byte(1 + i%2), Props: props})
		if diff := cmp.Diff(props, properties(t, s.take(text))); diff != "" {
			t.Errorf("properties (-sent +got):\n%s", diff)
		}
		three.take(text)
		if i == 0 {
			absent = absent.again()
		}
		if diff := cmp.Diff(props, properties(t, absent.take(text))); diff != "" {
			t.Errorf("properties for the client that was away (-sent +got):\n%s", diff)
		}
	}
	// A retained message has them, too.
	kept := (&mqttest.Properties{}).SetString(mqttest.PropContentType, "x").SetString(mqttest.PropResponseTopic, "y").AddUser("b", "1").AddUser("a", "2")
	kept.SetNumber(mqttest.PropPayloadFormat, 1).SetString(mqttest.PropCorrelationData, "\x00")
	p.publish(mqttest.Publish{Topic: topic, Payload: []byte("kept"), QoS: 1, Retain: true, Props: kept})
	if diff := cmp.Diff(kept, properties(t, fresh(t, v5, qos(1), topic).take("kept"))); diff != "" {
		t.Errorf("properties of a retained message (-sent +got):\n%s", diff)
	}
}

// Shows MQTT5-3.3.2-5, MQTT5-3.3.2-6.
func TestMessageExpiry(t *testing.T) {
	t.Parallel()
	topic := unique()
	live, s, p := fresh(t, v5, qos(1), topic), connect(t, v5, lasting), connect(t, v5)
	s.subscribe(qos(1), topic)
	s.drop()
	for _, c := range []struct {
		text   string
		expiry uint32
	}{{"short", 1}, {"long", 100}, {"never", 0}} {
		m := mqttest.Publish{Topic: topic, Payload: []byte(c.text), QoS: 1}
		if c.expiry > 0 {
			m.Props = (&mqttest.Properties{}).SetNumber(mqttest.PropMessageExpiry, c.expiry)
		}
		p.publish(m)
		if left, ok := properties(t, live.take(c.text)).Number(mqttest.PropMessageExpiry); ok != (c.expiry > 0) || left > c.expiry {
			t.Errorf("%s: expiry interval %d at once", c.text, left)
		}
	}
	p.publish(mqttest.Publish{Topic: topic + "/kept", Payload: []byte("kept"), QoS: 1, Retain: true, Props: (&mqttest.Properties{}).SetNumber(mqttest.PropMessageExpiry, 1)})
	pass(t, 3)
	s = s.again()
	if left, ok := properties(t, s.take("long")).Number(mqttest.PropMessageExpiry); !ok || left > 98 || left == 0 {
		t.Errorf("expiry interval %d of 100 after 2 s", left)
	}
	if left, ok := properties(t, s.take("never")).Number(mqttest.PropMessageExpiry); ok {
		t.Errorf("expiry interval %d where none was given", left)
	}
	has(t, v5, topic+"/kept", "")
}

// Shows MQTT5-4.3.3-7, MQTT5-4.3.3-13.
func TestNoExpiryOfWhatHasBeenSent(t *testing.T) {
	t.Parallel()
	topic := unique()
	s, p := connect(t, v5, lasting), connect(t, v5)
	s.subscribe(qos(2), topic)
	for _, text := range []string{"sent", "received"} {
		p.publish(mqttest.Publish{Topic: topic, Payload: []byte(text), QoS: 2, Props: (&mqttest.Properties{}).SetNumber(mqttest.PropMessageExpiry, 1)})
	}
	sent, received := s.message(), s.message()
	s.sendAck(mqttest.PUBREC, received.ID, 0)
	s.acked(mqttest.PUBREL, received.ID)
	s.drop()
	pass(t, 3)
	s = s.again()
	for range 2 {
		switch k, err := s.read(); {
		case err != nil:
			t.Fatal(err)
		case k.Type() == mqttest.PUBREL:
			if a, err := k.Ack(v5); err != nil || a.ID != received.ID {
				t.Errorf("PUBREL %v, want %d", k, received.ID)
			}
		default:
			if m, err := k.Message(v5); err != nil || m.ID != sent.ID || string(m.Payload) != "sent" || !m.Dup {
				t.Errorf("got %v, want identifier %d again", k, sent.ID)
			}
		}
	}
	s.sendAck(mqttest.PUBCOMP, received.ID, 0)
	s.sendAck(mqttest.PUBREC, sent.ID, 0)
	s.acked(mqttest.PUBREL, sent.ID)
	s.sendAck(mqttest.PUBCOMP, sent.ID, 0)
	s.sync()
}

// Shows MQTT5-3.2.2-17, MQTT5-3.3.2-7, MQTT5-3.3.2-9, MQTT5-3.3.2-12.
func TestTopicAliasesToTheServer(t *testing.T) {
	t.Parallel()
	topic := unique()
	p, s := connect(t, v5, lasting), fresh(t, v5, qos(1), topic+"/+")
	limit := p.ack.Props.Numbers[mqttest.PropTopicAliasMaximum]
	if limit == 0 {
		t.Fatal("the server takes no topic aliases")
	}
	send := func(name string, alias uint32, want string) {
		t.Helper()
		p.publish(mqttest.Publish{Topic: name, Payload: []byte("x"), QoS: 1, Props: (&mqttest.Properties{}).SetNumber(mqttest.PropTopicAlias, alias)})
		if m := s.take("x"); string(m.Topic) != want {
			t.Errorf("alias %d: came on %s, want %s", alias, m.Topic, want)
		}
	}
	for alias := uint32(1); alias <= limit; alias += max(1, limit/7) {
		send(topic+"/a", alias, topic+"/a")
		send("", alias, topic+"/a")
		send(topic+"/b", alias, topic+"/b")
		send("", alias, topic+"/b")
	}
	send(topic+"/c", limit, topic+"/c")
	send("", limit, topic+"/c")
	send("", 1, topic+"/b")
	p.disconnect()
	p = p.again() // the session has not kept it
	p.refused("alias of an earlier connection", packetOf(0x30, str(""), []byte{3, 0x23, 0, 1}, []byte("x")), 0x82, 0x94)
}

// Shows MQTT5-3.1.2-26, MQTT5-3.1.2-27, MQTT5-3.3.2-7, MQTT5-3.3.2-8, MQTT5-3.3.2-11.
func TestTopicAliasesToTheClient(t *testing.T) {
	t.Parallel()
	for _, limit := range []uint32{0, 2, 65535} {
		topic := unique()
		s, p := connect(t, v5, lasting), connect(t, v5)
		s.subscribe(qos(1), topic+"/+")
		for range 2 { // the second time on a connection that knows no aliases yet
			s.drop()
			if limit > 0 {
				s = s.again(with(mqttest.PropTopicAliasMaximum, limit))
			} else {
				s = s.again()
			}
			names := make(map[uint32]string)
			for i := range 12 {
				want := fmt.Sprintf("%s/%d", topic, i%4)
				p.say(want, "x")
				m := s.take("x")
				name := string(m.Topic)
				alias, ok := properties(t, m).Number(mqttest.PropTopicAlias)
				switch {
				case ok && (alias == 0 || alias > limit):
					t.Fatalf("topic alias %d, the client's maximum is %d", alias, limit)
				case ok && name != "":
					names[alias] = name
				case ok:
					name = names[alias]
				}
				if name != want {
					t.Errorf("alias %d is %q, want %s", alias, name, want)
				}
			}
		}
	}
}
