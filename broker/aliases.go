package broker

import (
	"github.com/mochi-mqtt/server/v2/packets"

	"tidings/delivery"
)

// maxAliasBytes bounds the topic names that one client may have kept behind its
// aliases.
const maxAliasBytes = 1 << 20

// aliases are the topic aliases that a client has set on this connection. They
// end with it [MQTT-3.3.2-7].
type aliases struct {
	topics map[uint16][]byte
	bytes  int
}

// resolve applies the topic alias of a PUBLISH (MQTT 5, 3.3.2.3.4).
func (c *conn) resolve(p *delivery.Publish, ps *props) byte {
	if !ps.has(packets.PropTopicAlias) {
		return 0
	}
	if ps.alias == 0 || int(ps.alias) > c.aliasLimit { // [MQTT-3.3.2-8, MQTT-3.3.2-9]
		return codeTopicAlias
	}
	if len(p.Topic) > 0 {
		return c.aliases.set(ps.alias, p.Topic)
	}
	if p.Topic = c.aliases.topics[ps.alias]; p.Topic == nil {
		return protocolError
	}
	return 0
}

// set has an alias stand for a topic from now on.
func (a *aliases) set(alias uint16, topic []byte) byte {
	old := a.topics[alias]
	if string(old) == string(topic) {
		return 0
	}
	if a.bytes += len(topic) - len(old); a.bytes > maxAliasBytes {
		return packets.ErrQuotaExceeded.Code
	}
	if a.topics == nil {
		a.topics = make(map[uint16][]byte)
	}
	a.topics[alias] = append([]byte(nil), topic...)
	return 0
}

// outAliases are the topic aliases of deliveries on one connection. They are made
// as topics come and stay, so that no order of packets matters but that of the
// connection itself; a delivery that is sent again on another connection is
// encoded anew there. The zero value has none.
type outAliases struct {
	limit  int // how many there may be
	topics map[string]uint16
}

const (
	// maxOutAliases is how many topics of one connection get an alias.
	maxOutAliases = 64

	// An alias costs three bytes each time, so that one for a shorter topic saves
	// nothing, and memory while the connection lasts.
	minAliased, maxAliased = aliasLen + 1, 1024

	aliasLen = 3
)

// find returns the alias of a topic, zero if it has none and gets none. known
// tells that the client has it already.
func (o *outAliases) find(topic []byte) (alias uint16, known bool) {
	if o.limit == 0 || len(topic) < minAliased {
		return 0, false
	}
	if alias, known = o.topics[string(topic)]; known || len(o.topics) >= o.limit || len(topic) > maxAliased {
		return alias, known
	}
	return uint16(len(o.topics) + 1), false
}

// add notes that the client has been told an alias.
func (o *outAliases) add(topic []byte, alias uint16) {
	if o.topics == nil {
		o.topics = make(map[string]uint16)
	}
	o.topics[string(topic)] = alias
}
