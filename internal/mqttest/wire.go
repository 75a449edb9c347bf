package mqttest

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Control packet types (MQTT 5, 2.1.2), as they stand in the high nibble of the first byte.
const (
	CONNECT     byte = 1
	CONNACK     byte = 2
	PUBLISH     byte = 3
	PUBACK      byte = 4
	PUBREC      byte = 5
	PUBREL      byte = 6
	PUBCOMP     byte = 7
	SUBSCRIBE   byte = 8
	SUBACK      byte = 9
	UNSUBSCRIBE byte = 10
	UNSUBACK    byte = 11
	PINGREQ     byte = 12
	PINGRESP    byte = 13
	DISCONNECT  byte = 14
	AUTH        byte = 15
)

// Protocol levels of CONNECT.
const (
	V311 byte = 4
	V5   byte = 5
)

// ErrMalformed reports bytes from the peer that are no packet of the negotiated protocol level.
var ErrMalformed = errors.New("malformed packet")

// appendVarint appends n as a variable byte integer (MQTT 5, 1.5.5).
func appendVarint(b []byte, n int) []byte {
	for n >= 0x80 {
		b = append(b, byte(n)|0x80)
		n >>= 7
	}
	return append(b, byte(n))
}

// readVarint reads a variable byte integer. size is 0 when b ends too early and -1 when the fourth byte still says "more".
func readVarint(b []byte) (n, size int) {
	for i := range 4 {
		if i >= len(b) {
			return 0, 0
		}
		n |= int(b[i]&0x7f) << (7 * i)
		if b[i] < 0x80 {
			return n, i + 1
		}
	}
	return 0, -1
}

func appendU16(b []byte, n uint16) []byte { return binary.BigEndian.AppendUint16(b, n) }

func appendString(b []byte, s string) []byte {
	return append(appendU16(b, uint16(len(s))), s...)
}

// frame splits the first packet off b. size is 0 while b holds no whole packet; need is then the length of the whole
// packet where it is known.
func frame(b []byte) (first byte, body []byte, size, need int, err error) {
	if len(b) < 2 {
		return 0, nil, 0, 0, nil
	}
	n, k := readVarint(b[1:])
	if k < 0 {
		return 0, nil, 0, 0, fmt.Errorf("%w: remaining length", ErrMalformed)
	}
	if k == 0 {
		return 0, nil, 0, 0, nil
	}
	need = 1 + k + n
	if len(b) < need {
		return 0, nil, 0, need, nil
	}
	return b[0], b[1+k : need], need, need, nil
}

// reader consumes fields of a packet's body. The first field that is cut short sets err; later reads return zero values.
type reader struct {
	b   []byte
	err error
}

func (r *reader) take(n int) []byte {
	if r.err != nil || n > len(r.b) {
		if r.err == nil {
			r.err = fmt.Errorf("%w: %d bytes wanted, %d left", ErrMalformed, n, len(r.b))
		}
		return nil
	}
	p := r.b[:n]
	r.b = r.b[n:]
	return p
}

func (r *reader) u8() byte {
	if p := r.take(1); p != nil {
		return p[0]
	}
	return 0
}

func (r *reader) u16() uint16 {
	if p := r.take(2); p != nil {
		return binary.BigEndian.Uint16(p)
	}
	return 0
}

func (r *reader) u32() uint32 {
	if p := r.take(4); p != nil {
		return binary.BigEndian.Uint32(p)
	}
	return 0
}

func (r *reader) bytes() []byte { return r.take(int(r.u16())) }

func (r *reader) varint() int {
	if r.err != nil {
		return 0
	}
	n, k := readVarint(r.b)
	if k <= 0 {
		r.err = fmt.Errorf("%w: variable byte integer", ErrMalformed)
		return 0
	}
	r.b = r.b[k:]
	return n
}
