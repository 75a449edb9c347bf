package broker

import (
	"bytes"
	"encoding/binary"
	"unicode/utf8"
)

// scanner takes the fields of one packet from its bytes. The first field that is
// cut short or malformed sets bad; what is taken later is zero. Slices point into
// the packet.
type scanner struct {
	b   []byte
	bad bool
}

func (s *scanner) take(n int) []byte {
	if s.bad || n > len(s.b) {
		s.bad = true
		return nil
	}
	p := s.b[:n]
	s.b = s.b[n:]
	return p
}

func (s *scanner) u8() byte {
	if p := s.take(1); p != nil {
		return p[0]
	}
	return 0
}

func (s *scanner) u16() uint16 {
	if p := s.take(2); p != nil {
		return binary.BigEndian.Uint16(p)
	}
	return 0
}

func (s *scanner) u32() uint32 {
	if p := s.take(4); p != nil {
		return binary.BigEndian.Uint32(p)
	}
	return 0
}

// varint takes a variable byte integer, which must be written in as few bytes as
// it needs [MQTT-1.5.5-1].
func (s *scanner) varint() int {
	n, size := readVarint(s.b)
	if s.bad || size <= 0 {
		s.bad = true
		return 0
	}
	s.b = s.b[size:]
	return n
}

// binary takes binary data: two bytes of length and that many bytes.
func (s *scanner) binary() []byte { return s.take(int(s.u16())) }

// text takes a UTF-8 string [MQTT-1.5.4-1, MQTT-1.5.4-2].
func (s *scanner) text() []byte {
	p := s.binary()
	if !validText(p) {
		s.bad = true
		return nil
	}
	return p
}

// validText tells whether b is a UTF-8 string of MQTT: well-formed, so without
// surrogates, and without NUL.
func validText(b []byte) bool {
	return utf8.Valid(b) && bytes.IndexByte(b, 0) < 0
}

// readVarint reads a variable byte integer from the start of b. size is its
// length, 0 while b ends too early, and -1 where four bytes do not end it or
// fewer would have done.
func readVarint(b []byte) (n, size int) {
	for i := range 4 {
		if i >= len(b) {
			return 0, 0
		}
		n |= int(b[i]&0x7f) << (7 * i)
		if b[i] < 0x80 {
			if i > 0 && b[i] == 0 {
				return 0, -1
			}
			return n, i + 1
		}
	}
	return 0, -1
}

func appendVarint(b []byte, n int) []byte {
	for n >= 0x80 {
		b = append(b, byte(n)|0x80)
		n >>= 7
	}
	return append(b, byte(n))
}

func varintLen(n int) int {
	switch {
	case n < 1<<7:
		return 1
	case n < 1<<14:
		return 2
	case n < 1<<21:
		return 3
	}
	return 4
}

func appendString[S string | []byte](b []byte, s S) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
	return append(b, s...)
}
