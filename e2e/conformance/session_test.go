package conformance_test

import (
	"fmt"
	"testing"

	"tidings/internal/mqttest"
)

// Shows MQTT3-3.1.2-4, MQTT3-3.1.2-5, MQTT3-3.1.3-2, MQTT3-3.2.2-2, MQTT3-3.2.2-3, MQTT3-4.1.0-1, MQTT3-4.5.0-1.
// Shows MQTT5-3.1.2-5, MQTT5-3.1.2-6, MQTT5-3.1.2-23, MQTT5-3.1.3-2, MQTT5-3.2.2-3, MQTT5-4.5.0-1.
func TestSessionContinues(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		topic := unique()
		s, other, p := connect(t, version, lasting), connect(t, version, lasting), connect(t, version)
		if s.ack.SessionPresent {
			t.Error("session present for a client that is new")
		}
		s.subscribe(qos(2), topic)
		other.subscribe(qos(1), topic)
		s.disconnect()
		other.drop()
		for level := byte(1); level <= 2; level++ {
			p.publish(mqttest.Publish{Topic: topic, Payload: fmt.Append(nil, "QoS ", level), QoS: level})
		}
		for i, c := range []*peer{s, other} {
			c = c.again()
			if !c.ack.SessionPresent {
				t.Error("session present 0")
			}
			for level := byte(1); level <= 2; level++ {
				// What was written to a connection that was gone already comes again.
				if m := c.take(fmt.Sprint("QoS ", level)); m.Dup && i == 0 || m.Retain || m.QoS != min(level, byte(2-i)) {
					t.Errorf("QoS %d came as QoS %d, DUP %v, RETAIN %v", level, m.QoS, m.Dup, m.Retain)
				}
			}
			p.say(topic, "now")
			for range i + 1 { // the second client missed the first one's
				c.take("now")
			}
			c.disconnect()
		}
	})
}

// Shows MQTT3-3.1.2-6, MQTT3-3.1.4-3, MQTT3-3.2.2-1, MQTT5-3.1.2-4, MQTT5-3.1.4-4, MQTT5-3.2.2-2.
func TestCleanStart(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		topic := unique()
		s, p := connect(t, version, lasting), connect(t, version)
		s.subscribe(qos(1), topic)
		p.say(topic, "open")
		s.message() // is not acknowledged
		s.drop()
		p.say(topic, "missed")
		c := connect(t, version, as(s.id))
		if c.ack.SessionPresent {
			t.Error("session present 1 for a clean start")
		}
		p.say(topic, "without a subscription")
		c.subscribe(qos(1), topic+"/x")
		p.say(topic+"/x", "end")
		c.take("end")
		c.disconnect()
		// What the clean session had is not there later, either.
		c = s.again()
		if c.ack.SessionPresent {
			t.Error("a clean session outlived its connection")
		}
		p.say(topic, "still without a subscription")
		c.subscribe(qos(1), topic+"/y")
		p.say(topic+"/y", "end")
		c.take("end")
	})
}

// Shows MQTT5-3.1.2-4, MQTT5-3.1.2-23, MQTT5-3.2.2-2.
func TestCleanStartOfASessionThatLasts(t *testing.T) {
	t.Parallel()
	topic := unique()
	s, p := connect(t, v5, lasting, func(o *mqttest.Options) { o.Clean = true }), connect(t, v5)
	s.subscribe(qos(1), topic)
	s.drop()
	p.say(topic, "kept")
	s = s.again()
	if !s.ack.SessionPresent {
		t.Error("session present 0")
	}
	s.take("kept")
}

// Shows MQTT5-4.1.0-2, MQTT5-3.2.2-3.
func TestSessionExpiry(t *testing.T) {
	t.Parallel()
	expiry := func(n uint32) func(*mqttest.Options) {
		return func(o *mqttest.Options) { o.Clean, o.SessionExpiry = false, n }
	}
	none, short, raised, lowered := connect(t, v5, expiry(0)), connect(t, v5, expiry(1)), connect(t, v5, expiry(1)), connect(t, v5, expiry(600))
	none.disconnect()
	short.drop()
	raised.send(mqttest.AppendDisconnect(nil, v5, 0, (&mqttest.Properties{}).SetNumber(mqttest.PropSessionExpiry, 600)))
	raised.ended()
	lowered.send(mqttest.AppendDisconnect(nil, v5, 0, (&mqttest.Properties{}).SetNumber(mqttest.PropSessionExpiry, 0)))
	lowered.ended()
	pass(t, 3)
	for what, c := range map[string]struct {
		p    *peer
		want bool
	}{"expiry 0": {none, false}, "expiry over": {short, false}, "raised by DISCONNECT": {raised, true}, "ended by DISCONNECT": {lowered, false}} {
		if got := c.p.again().ack.SessionPresent; got != c.want {
			t.Errorf("%s: session present %v, want %v", what, got, c.want)
		}
	}
	p := connect(t, v5)
	p.refused("a session that would outlive its connection", mqttest.AppendDisconnect(nil, v5, 0, (&mqttest.Properties{}).SetNumber(mqttest.PropSessionExpiry, 9)), 0x82)
}

// Shows MQTT3-4.1.0-2, MQTT5-4.1.0-1.
func TestSessionLastsAsLongAsItsConnection(t *testing.T) {
	t.Parallel()
	topic := unique()
	three := fresh(t, v3, qos(1), topic)
	five := connect(t, v5, func(o *mqttest.Options) { o.SessionExpiry = 1 })
	five.subscribe(qos(1), topic)
	none := fresh(t, v5, qos(1), topic)
	p := connect(t, v5)
	p.say(topic, "open")
	open := []*mqttest.Message{three.message(), five.message(), none.message()}
	pass(t, 3)
	p.say(topic, "later")
	for i, s := range []*peer{three, five, none} {
		s.settle(open[i])
		s.take("later")
	}
}

// Shows MQTT3-4.5.0-1, MQTT5-4.5.0-1, MQTT3-3.1.2-5.
func TestEverySessionGetsEachMessage(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		const sessions, messages = 8, 40
		topic := unique()
		var all []*peer
		for i := range sessions {
			s := connect(t, version, lasting)
			s.subscribe(qos(1), topic)
			if i%2 == 0 {
				s.drop()
			}
			all = append(all, s)
		}
		p := connect(t, version)
		for i := range messages {
			p.say(topic, fmt.Sprint(i))
		}
		for i, s := range all {
			if i%2 == 0 {
				s = s.again()
			}
			for n := range messages {
				s.take(fmt.Sprint(n))
			}
		}
	})
}

// Shows MQTT3-3.14.4-1, MQTT3-3.14.4-2, MQTT5-3.14.4-1, MQTT5-3.14.4-2.
func TestNothingIsProcessedBehindDisconnect(t *testing.T) {
	each(t, func(t *testing.T, version byte) {
		topic := unique()
		s, p := fresh(t, version, qos(1), topic), connect(t, version)
		p.send([]byte{0xe0, 0}, mqttest.AppendPublish(nil, version, &mqttest.Publish{Topic: topic, Payload: []byte("behind"), QoS: 1, ID: 1}))
		if got := p.rest(); len(got) > 0 {
			t.Errorf("answered %v", got)
		}
		// And the server says nothing behind its own.
		q := connect(t, version)
		q.send([]byte{0x00, 0x00}, mqttest.AppendPublish(nil, version, &mqttest.Publish{Topic: topic, Payload: []byte("behind"), QoS: 1, ID: 1}))
		q.ended()
		connectAndSay(t, version, topic, "end")
		s.take("end")
	})
}

// Shows MQTT5-3.14.2-1, MQTT5-3.14.2-2, MQTT5-4.13.2-1.
func TestDisconnectOfTheServer(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		b    []byte
		code byte
	}{
		"malformed":        {[]byte{0x30, 0}, 0x81},
		"protocol error":   {[]byte{0x82, 3, 0, 1, 0}, 0x82},
		"alias invalid":    {packetOf(0x30, str("a"), []byte{3, 0x23, 0, 0}), 0x94},
		"packet too large": {[]byte{0x30, 0xff, 0xff, 0xff, 0x7f}, 0x95},
	} {
		p := connect(t, v5, lasting)
		p.send(c.b)
		if code := p.ended(); code != c.code {
			t.Errorf("%s: DISCONNECT %#02x, want %#02x", name, code, c.code)
		}
	}
	for _, code := range []byte{0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99} {
		p := connect(t, v5)
		p.send(mqttest.AppendDisconnect(nil, v5, code, &mqttest.Properties{}))
		if got := p.rest(); len(got) > 0 {
			t.Errorf("DISCONNECT %#02x of a client: answered %v", code, got)
		}
	}
}
