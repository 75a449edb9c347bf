package delivery

import (
	"encoding/binary"
	"errors"
	"math"
)

// openMessage is a publish on an open topic: what receivers get of it. Its slices
// point into the record that it was decoded from.
type openMessage struct {
	topic   []byte
	props   []byte // in the carrier's encoding
	payload []byte
}

const openVersion = 1

// appendOpen appends the record of an open message, the form in which queues and
// retained messages keep it: version, topic with two bytes of length, properties
// with four, payload.
func appendOpen(b []byte, topic, props, payload []byte) []byte {
	b = append(b, openVersion)
	b = binary.BigEndian.AppendUint16(b, uint16(len(topic)))
	b = append(b, topic...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(props)))
	b = append(b, props...)
	return append(b, payload...)
}

var errOpenRecord = errors.New("the record of an open message is damaged")

// decodeOpen reads what appendOpen wrote.
func decodeOpen(b []byte) (m openMessage, err error) {
	if len(b) < 3 || b[0] != openVersion {
		return m, errOpenRecord
	}
	n := int(binary.BigEndian.Uint16(b[1:]))
	b = b[3:]
	if len(b) < n+4 {
		return m, errOpenRecord
	}
	m.topic = b[:n:n]
	p := uint64(binary.BigEndian.Uint32(b[n:]))
	b = b[n+4:]
	if uint64(len(b)) < p {
		return m, errOpenRecord
	}
	m.props, m.payload = b[:p:p], b[p:]
	return m, nil
}

// manner is how one receiver gets an open message.
type manner struct {
	qos    byte
	retain bool
	ids    []uint32 // subscription identifiers of the filters that matched
}

const (
	mannerRetain  = 4
	mannerExpires = 8
)

// append appends the record of a manner: a byte of flags, when the message expires
// (Unix milliseconds; 0: never) and the identifiers. The expiry stands here and not
// with the entry, of which retention would remove the content: what has been sent in
// time is sent again whenever that is [MQTT-4.3.3-7].
func (m *manner) append(b []byte, expires int64) []byte {
	flags := m.qos
	if m.retain {
		flags |= mannerRetain
	}
	if expires > 0 {
		flags |= mannerExpires
	}
	b = append(b, flags)
	if expires > 0 {
		b = binary.AppendUvarint(b, uint64(expires))
	}
	for _, id := range m.ids {
		b = binary.AppendUvarint(b, uint64(id))
	}
	return b
}

// decode reads what append wrote, reusing the memory of the identifiers.
func (m *manner) decode(b []byte) (expires int64, err error) {
	if len(b) == 0 || b[0]&3 == 3 || b[0] > mannerExpires+mannerRetain+2 {
		return 0, errOpenRecord
	}
	flags := b[0]
	b = b[1:]
	m.qos, m.retain, m.ids = flags&3, flags&mannerRetain != 0, m.ids[:0]
	if flags&mannerExpires != 0 {
		at, n := binary.Uvarint(b)
		if n <= 0 || at == 0 || at > math.MaxInt64 {
			return 0, errOpenRecord
		}
		expires, b = int64(at), b[n:]
	}
	for len(b) > 0 {
		id, n := binary.Uvarint(b)
		if n <= 0 || id == 0 || id > math.MaxUint32 {
			return 0, errOpenRecord
		}
		m.ids = append(m.ids, uint32(id))
		b = b[n:]
	}
	return expires, nil
}
