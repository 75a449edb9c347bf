package broker

import (
	"slices"

	"github.com/mochi-mqtt/server/v2/packets"
)

// hopProperties has a bit for each property of a message that is between two
// neighbours only: it is taken out of what receivers on open topics get unchanged.
// Message Expiry Interval goes on as a number, since it grows less on the way.
const hopProperties = 1<<packets.PropMessageExpiryInterval | 1<<packets.PropTopicAlias | 1<<packets.PropWillDelayInterval

// section is where a property stands in its section.
type section struct{ from, to int }

// through returns the properties that go to the receivers byte for byte, in their
// order [MQTT-3.3.2-4, MQTT-3.3.2-15 … MQTT-3.3.2-18, MQTT-3.3.2-20]: Payload
// Format Indicator, Content Type, Response Topic, Correlation Data and User
// Properties. It is a part of the packet, or made in scratch, which it returns
// grown.
func (p *props) through(scratch []byte) (kept, grown []byte) {
	if p.hops == 0 {
		return p.raw, scratch
	}
	scratch = scratch[:0]
	at := 0
	for _, h := range p.hop[:p.hops] {
		scratch = append(scratch, p.raw[at:h.from]...)
		at = h.to
	}
	scratch = append(scratch, p.raw[at:]...)
	return slices.Clip(scratch), scratch
}
