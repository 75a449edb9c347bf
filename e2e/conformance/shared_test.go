package conformance_test

import (
	"fmt"
	"testing"

	"tidings/internal/mqttest"
)

// Shows MQTT5-3.8.3-4, MQTT5-4.8.2-1, MQTT5-4.8.2-2.
func TestSharedFiltersThatAreNone(t *testing.T) {
	t.Parallel()
	for _, filter := range []string{"$share//a", "$share/", "$share/a", "$share/a/", "$share/a+/b", "$share/+/b", "$share/#/b", "$share/a#/b"} {
		p := connect(t, v5)
		p.send(mqttest.AppendSubscribe(nil, v5, 3, nil, []mqttest.Subscription{{Filter: filter, Options: 1}}))
		k, err := p.read()
		if err != nil || k.Type() == mqttest.DISCONNECT {
			continue // closing is an answer, too
		}
		if _, g, err := k.Granted(v5); err != nil || k.Type() != mqttest.SUBACK || len(g.Codes) != 1 || g.Codes[0] < 0x80 {
			t.Errorf("%q: answered %v", filter, k)
		}
	}
	connect(t, v5).refused("no local on a shared subscription",
		mqttest.AppendSubscribe(nil, v5, 3, nil, []mqttest.Subscription{{Filter: "$share/a/b", Options: 1 | noLocal}}), 0x82)
}

// group connects clients with a shared subscription.
func group(t *testing.T, filter string, options ...byte) []*peer {
	t.Helper()
	var all []*peer
	for _, o := range options {
		s := connect(t, v5, lasting)
		s.subscribe(o, filter)
		all = append(all, s)
	}
	return all
}

// gather ends each client's part by a message on a topic of its own, and returns what came before that.
func gather(t *testing.T, all []*peer) [][]*mqttest.Message {
	t.Helper()
	p := connect(t, v5)
	got := make([][]*mqttest.Message, len(all))
	for i, s := range all {
		end := unique()
		// A subscription is answered in order with deliveries, which may come before its SUBACK.
		s.send(mqttest.AppendSubscribe(nil, v5, 60000, nil, []mqttest.Subscription{{Filter: end}}))
		for {
			k, err := s.read()
			if err != nil {
				t.Fatal(err)
			}
			if k.Type() == mqttest.SUBACK {
				p.say(end, "end")
				continue
			}
			m, err := k.Message(v5)
			if err != nil || k.Type() != mqttest.PUBLISH {
				t.Fatalf("got %v, %v", k, err)
			}
			if string(m.Topic) == end {
				break
			}
			got[i] = append(got[i], m)
			s.settle(m)
		}
	}
	return got
}

// Shows MQTT5-4.8.2-1, MQTT5-4.8.2-2, MQTT5-4.8.2-3, MQTT5-3.8.4-8.
func TestSharedSubscription(t *testing.T) {
	t.Parallel()
	const n = 30
	topic := unique()
	levels := []byte{0, 1, 2}
	all := group(t, "$share/workers/"+topic+"/#", levels...)
	others := group(t, "$share/others/"+topic+"/+", 1)
	plain := fresh(t, v5, qos(1), topic+"/+")
	p := connect(t, v5)
	for i := range n {
		p.publish(mqttest.Publish{Topic: topic + "/a", Payload: fmt.Append(nil, i), QoS: 2})
	}
	for i := range n { // each group gets each message once, and so does who subscribes alone
		plain.take(fmt.Sprint(i))
		others[0].take(fmt.Sprint(i))
	}
	seen := make(map[string]int)
	for i, list := range gather(t, all) {
		for _, m := range list {
			seen[string(m.Payload)]++
			if m.QoS != levels[i] {
				t.Errorf("granted QoS %d, came at %d", levels[i], m.QoS)
			}
		}
	}
	for i := range n {
		if got := seen[fmt.Sprint(i)]; got != 1 {
			t.Errorf("message %d went to %d of the group", i, got)
		}
	}
	// A client that subscribes again has the QoS that it was granted last.
	others[0].subscribe(qos(0), "$share/others/"+topic+"/+")
	p.publish(mqttest.Publish{Topic: topic + "/a", Payload: []byte("again"), QoS: 2})
	if m := others[0].take("again"); m.QoS != 0 {
		t.Errorf("granted QoS 0, came at %d", m.QoS)
	}
}

// Shows MQTT5-4.8.2-4, MQTT5-4.8.2-5.
func TestSharedDeliveryStaysWithItsClient(t *testing.T) {
	t.Parallel()
	for _, ends := range []bool{false, true} {
		topic := unique()
		all := group(t, "$share/g/"+topic, 2)
		p := connect(t, v5)
		p.publish(mqttest.Publish{Topic: topic, Payload: []byte("begun"), QoS: 2})
		first := all[0]
		m := first.message()
		rest := group(t, "$share/g/"+topic, 2, 2)
		first.drop()
		if ends {
			connect(t, v5, as(first.id)).disconnect() // a clean start ends the session
		} else {
			first = first.again()
			if again := first.message(); again.ID != m.ID || !again.Dup || string(again.Payload) != "begun" {
				t.Errorf("again: identifier %d, DUP %v, %s; want %d", again.ID, again.Dup, again.Payload, m.ID)
			}
			first.settle(m)
		}
		for i, list := range gather(t, rest) {
			if len(list) > 0 {
				t.Errorf("client %d got %s, too", i, list[0].Payload)
			}
		}
	}
}

// Shows MQTT5-4.8.2-6.
func TestRefusedSharedDeliveryGoesToNobodyElse(t *testing.T) {
	t.Parallel()
	for level := byte(1); level <= 2; level++ {
		topic := unique()
		all := group(t, "$share/g/"+topic, level)
		p := connect(t, v5)
		p.publish(mqttest.Publish{Topic: topic, Payload: []byte("refused"), QoS: level})
		m := all[0].message()
		rest := group(t, "$share/g/"+topic, 2, 2)
		all[0].sendAck([]byte{0, mqttest.PUBACK, mqttest.PUBREC}[level], m.ID, 0x97)
		all[0].sync()
		for i, list := range gather(t, append(rest, all[0])) {
			if len(list) > 0 {
				t.Errorf("client %d got %s", i, list[0].Payload)
			}
		}
	}
}
