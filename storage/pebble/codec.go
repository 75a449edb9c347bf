package pebble

import (
	"encoding/binary"
	"errors"
)

// Faults of a record; the decoders add the key.
var (
	errShort   = errors.New("record ends early")
	errLong    = errors.New("bytes behind the record")
	errVersion = errors.New("unknown record version")
	errValue   = errors.New("value out of range")
)

// reader takes a record apart. After the first fault it returns zeros and keeps
// the fault in err, so that a decoder checks once, at the end.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.b = nil
}

// take returns the next n bytes, which stay part of the record.
func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.fail(errShort)
		return nil
	}
	p := r.b[:n:n]
	r.b = r.b[n:]
	return p
}

func (r *reader) byte() byte {
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

func (r *reader) u64() uint64 {
	if p := r.take(8); p != nil {
		return binary.BigEndian.Uint64(p)
	}
	return 0
}

// uvarint reads a number in its shortest form; others are refused, so that a
// record has one encoding only.
func (r *reader) uvarint() uint64 {
	n, size := binary.Uvarint(r.b)
	switch {
	case size == 0:
		r.fail(errShort)
		return 0
	case size < 0, size > 1 && r.b[size-1] == 0:
		r.fail(errValue)
		return 0
	}
	r.b = r.b[size:]
	return n
}

// bytes reads a length and that many bytes; nil if the length is zero.
func (r *reader) bytes() []byte {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.fail(errShort)
		return nil
	}
	if n == 0 {
		return nil
	}
	return r.take(int(n))
}

func (r *reader) version(want byte) {
	if r.byte() != want && r.err == nil {
		r.fail(errVersion)
	}
}

// end reports the fault, or that something is left.
func (r *reader) end() error {
	if r.err == nil && len(r.b) > 0 {
		r.err = errLong
	}
	return r.err
}

func appendBytes(b, p []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(p))), p...)
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func uvarintLen(n uint64) int {
	size := 1
	for n >= 0x80 {
		n >>= 7
		size++
	}
	return size
}
