package conformance_test

import (
	"fmt"
	"testing"

	"tidings/internal/mqttest"
)

// retain publishes a retained message at a QoS.
func (p *peer) retain(topic, text string, level byte) {
	p.t.Helper()
	p.publish(mqttest.Publish{Topic: topic, Payload: []byte(text), QoS: level, Retain: true})
}

// fresh returns a connection with a new subscription.
func fresh(t *testing.T, version, options byte, filters ...string) *peer {
	t.Helper()
	p := connect(t, version)
	p.subscribe(options, filters...)
	return p
}

// has checks what a new subscriber of topic gets at once: the retained message, or "" for none.
func has(t *testing.T, version byte, topic, want string) {
	t.Helper()
	p := fresh(t, version, qos(1), topic)
	if want != "" {
		if m := p.take(want); !m.Retain || m.Dup || string(m.Topic) != topic {
			t.Errorf("retained message on %s: RETAIN %v, DUP %v", m.Topic, m.Retain, m.Dup)
		}
	}
	connect(t, version).say(topic, "end")
	p.take("end")
}

// Shows MQTT3-3.3.1-5, MQTT3-3.3.1-6, MQTT3-3.3.1-7, MQTT3-3.3.1-8, MQTT3-3.3.1-9, MQTT3-3.3.1-12.
// Shows MQTT5-3.3.1-5, MQTT5-3.3.1-8, MQTT5-3.3.1-12.
func TestRetainedMessages(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		topic := unique()
		live := fresh(t, version, qos(1), topic)
		p := connect(t, version)
		for level := range byte(3) {
			text := fmt.Sprint("QoS ", level)
			p.retain(topic, text, level)
			if m := live.take(text); m.Retain || m.QoS != min(level, 1) {
				t.Errorf("on a subscription that was there: RETAIN %v, QoS %d", m.Retain, m.QoS)
			}
			has(t, version, topic, text) // which publishes one without RETAIN
			live.take("end")
			has(t, version, topic, text)
			live.take("end")
			if m := fresh(t, version, qos(2), topic).message(); m.QoS != level || !m.Retain {
				t.Errorf("stored at QoS %d as QoS %d, RETAIN %v", level, m.QoS, m.Retain)
			}
		}
	})
}

// Shows MQTT3-3.3.1-10, MQTT3-3.3.1-11, MQTT5-3.3.1-6, MQTT5-3.3.1-7.
func TestEmptyRetainedMessage(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		for level := range byte(3) {
			topic := unique()
			live := fresh(t, version, qos(1), topic)
			p := connect(t, version)
			p.retain(topic, "kept", 1)
			live.take("kept")
			for range 2 { // there, and not there
				p.retain(topic, "", level)
				if m := live.take(""); m.Retain {
					t.Error("the empty message has RETAIN 1")
				}
				if level == 0 {
					p.say(topic, "after") // its acknowledgement says that the one before is done, too
					live.take("after")
				}
				has(t, version, topic, "")
				live.take("end")
			}
		}
	})
}

// Shows MQTT3-3.1.2-7, MQTT3-3.3.1-6.
func TestRetainedMessagesOutliveSessions(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		root := unique()
		p := connect(t, version)
		for _, level := range []string{"/a", "/b/c", "/$d"} {
			p.retain(root+level, "at "+level, 1)
		}
		p.disconnect()
		got := make(map[string]bool)
		all := fresh(t, version, qos(1), root+"/#")
		for range 3 {
			m := all.message()
			all.settle(m)
			if !m.Retain {
				t.Errorf("%s has RETAIN 0", m.Topic)
			}
			got[string(m.Topic)+" "+string(m.Payload)] = true
		}
		for _, level := range []string{"/a", "/b/c", "/$d"} {
			if !got[root+level+" at "+level] {
				t.Errorf("got %v", got)
			}
		}
		one := fresh(t, version, qos(1), root+"/+")
		connectAndSay(t, version, root+"/end", "end")
		for range 2 {
			if m := one.message(); len(m.Topic) != len(root)+2 && len(m.Topic) != len(root)+3 {
				t.Errorf("got %s", m.Topic)
			} else {
				one.settle(m)
			}
		}
		one.take("end")
	})
}

func connectAndSay(t *testing.T, version byte, topic, text string) {
	t.Helper()
	connect(t, version).say(topic, text)
}

// Shows MQTT3-3.8.4-3, MQTT5-3.8.4-3, MQTT5-3.8.4-4, MQTT5-3.3.1-9.
func TestSubscribingAgainReplaces(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		topic := unique()
		p := connect(t, version)
		p.retain(topic, "kept", 1)
		s := fresh(t, version, qos(1), topic)
		if m := s.take("kept"); m.QoS != 1 {
			t.Errorf("QoS %d", m.QoS)
		}
		s.subscribe(qos(0), topic)
		if m := s.take("kept"); m.QoS != 0 || !m.Retain {
			t.Errorf("again: QoS %d, RETAIN %v", m.QoS, m.Retain)
		}
		p.say(topic, "once")
		if m := s.take("once"); m.QoS != 0 {
			t.Errorf("after the replacement: QoS %d", m.QoS)
		}
		p.say(topic, "end")
		s.take("end") // and not "once" again
	})
}

// Shows MQTT3-3.8.4-3, MQTT5-3.8.4-4.
func TestSubscribingAgainLosesNothing(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		const n = 200
		topic := unique()
		s := fresh(t, version, qos(1), topic)
		p := connect(t, version)
		go func() {
			var b []byte
			for i := range n {
				b = mqttest.AppendPublish(b, version, &mqttest.Publish{Topic: topic, Payload: fmt.Append(nil, i), QoS: 1, ID: uint16(i + 1)})
			}
			p.send(b)
		}()
		for i := range n {
			if i%10 == 0 {
				s.send(mqttest.AppendSubscribe(nil, version, 9, nil, []mqttest.Subscription{{Filter: topic, Options: 1}}))
			}
			for {
				k, err := s.read()
				if err != nil {
					t.Fatal(err)
				}
				if k.Type() == mqttest.SUBACK {
					continue
				}
				m, err := k.Message(version)
				if err != nil || string(m.Payload) != fmt.Sprint(i) {
					t.Fatalf("got %v, want message %d, %v", k, i, err)
				}
				s.settle(m)
				break
			}
		}
	})
}

// Shows MQTT5-3.3.1-9, MQTT5-3.3.1-10, MQTT5-3.3.1-11, MQTT5-3.8.4-4.
func TestRetainHandling(t *testing.T) {
	t.Parallel()
	topic := unique()
	p := connect(t, v5)
	p.retain(topic, "kept", 1)
	s := connect(t, v5, lasting)
	for i, c := range []struct {
		handling byte
		sent     bool
	}{{2, false}, {2, false}, {1, false}, {0, true}, {0, true}, {1, false}} {
		s.subscribe(qos(1)|retainHandling(c.handling), topic)
		if c.sent {
			s.take("kept")
		}
		p.say(topic, fmt.Sprint("end ", i))
		s.take(fmt.Sprint("end ", i))
	}
	s.sync()
	s.drop()
	s = s.again() // the session has the subscription
	s.subscribe(qos(1)|retainHandling(1), topic)
	s.unsubscribe(topic)
	s.subscribe(qos(1)|retainHandling(1), topic) // it is new again
	s.take("kept")
}

// Shows MQTT5-3.3.1-12, MQTT5-3.3.1-13.
func TestRetainAsPublished(t *testing.T) {
	t.Parallel()
	topic := unique()
	plain, published := fresh(t, v5, qos(1), topic), fresh(t, v5, qos(1)|asPublished, topic)
	p := connect(t, v5)
	for level := range byte(3) {
		for _, retain := range []bool{false, true} {
			p.publish(mqttest.Publish{Topic: topic, Payload: []byte("x"), QoS: level, Retain: retain})
			if m := plain.take("x"); m.Retain {
				t.Error("without the option: RETAIN 1")
			}
			if m := published.take("x"); m.Retain != retain {
				t.Errorf("with the option: RETAIN %v for %v", m.Retain, retain)
			}
		}
	}
}
