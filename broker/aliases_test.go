package broker_test

import (
	"fmt"
	"strings"
	"testing"

	"tidings/broker"
	"tidings/delivery"
	"tidings/internal/mqttest"
)

// received is what a raw MQTT 5 client sees of a delivery.
type received struct {
	topic string
	alias uint32
}

func (c *rawConn) delivery() received {
	c.t.Helper()
	_, body := c.packet()
	n := int(body[0])<<8 | int(body[1])
	r := received{topic: string(body[2 : 2+n])}
	props := body[2+n+1 : 2+n+1+int(body[2+n])] // at QoS 0, and short
	if i := strings.IndexByte(string(props), mqttest.PropTopicAlias); i >= 0 {
		r.alias = uint32(props[i+1])<<8 | uint32(props[i+2])
	}
	return r
}

// Shows MQTT5-3.1.2-26, MQTT5-3.1.2-27, MQTT5-3.3.2-7, MQTT5-3.3.2-8, MQTT5-3.3.2-11.
func TestDeliveriesUseTopicAliases(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		if m.version == mqttest.V311 {
			return
		}
		s := serve(t, m, broker.Config{}, newFakeEngine(), nil)
		login := func(aliases uint32, maxPacket uint32) (*rawConn, *fakeSession) {
			c := s.raw()
			c.login(mqttest.Options{
				ClientID: "c", User: "alice", Password: "alice", MaxPacketSize: maxPacket,
				Props: (&mqttest.Properties{}).SetNumber(mqttest.PropTopicAliasMaximum, aliases),
			})
			return c, s.engine.session("alice/c")
		}
		send := func(f *fakeSession, topics ...string) {
			for _, topic := range topics {
				f.mu.Lock()
				f.o.Link.Deliver(&delivery.Delivery{Topic: []byte(topic), Payload: []byte("xx")})
				f.mu.Unlock()
			}
			f.o.Link.Flush()
		}
		expect := func(c *rawConn, want ...received) {
			t.Helper()
			for i, w := range want {
				if got := c.delivery(); got != w {
					t.Errorf("delivery %d: %+v, want %+v", i, got, w)
				}
			}
		}
		c, f := login(2, 0)
		send(f, "o/c", "open/long/a", "open/long/b", "o/c", "open/long/a", "open/long/d", "open/long/b", "open/long/d", "o/c")
		expect(c, received{"o/c", 0}, received{"open/long/a", 1}, received{"open/long/b", 2}, received{"o/c", 0}, received{"", 1},
			received{"open/long/d", 0}, received{"", 2}, received{"open/long/d", 0}, received{"o/c", 0})

		c, f = login(2, 0) // another connection of the session: nothing of the first one's
		send(f, "open/long/b", "open/long/b")
		expect(c, received{"open/long/b", 1}, received{"", 1})

		c, f = login(0, 0)
		send(f, "open/long/a", "open/long/a")
		expect(c, received{"open/long/a", 0}, received{"open/long/a", 0})

		// An alias that would make the packet too large is not told, and not used later.
		fitting := "open/" + strings.Repeat("x", 33)
		c, f = login(2, uint32(2+2+len(fitting)+1+2))
		send(f, fitting, fitting, "open/long/a", "open/long/a")
		expect(c, received{fitting, 0}, received{fitting, 0}, received{"open/long/a", 1}, received{"", 1})

		// However many a client offers, it gets a bounded number.
		c, f = login(65535, 0)
		for i := range 70 {
			topic := fmt.Sprint("open/topic/", i)
			send(f, topic, topic)
			first, second := c.delivery(), c.delivery()
			if i < 64 && (first != received{topic, uint32(i + 1)} || second != received{"", uint32(i + 1)}) || i >= 64 && second != (received{topic, 0}) {
				t.Errorf("topic %d: %+v %+v", i, first, second)
			}
		}
	})
}
