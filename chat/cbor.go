package chat

import (
	"errors"
	"math"
	"strconv"
)

// Every payload has the same schema in CBOR (RFC 8949) as in JSON, and the store
// knows JSON alone, so CBOR is made from JSON and turned into it at the edge:
//
//	JSON              CBOR written                    CBOR read
//	object, array     map, array of definite length   any length; keys are text strings
//	string            text string                     text string, in chunks too
//	number, whole     integer, up to 64 bits          integer
//	number, other     float32 where exact, float64    float, finite
//	true false null   the same                        the same
//	base64url string  text string                     byte string, without padding (section 6.1)
//
// Tags, undefined, NaN, infinities and other simple values have no JSON form and
// are refused. Whole numbers beyond 64 bits are written as the nearest float.

// AppendEnvelopeCBOR appends the envelope of m in one view, in CBOR.
func AppendEnvelopeCBOR(dst []byte, m *Message, v View) []byte {
	var scratch [512]byte
	return AppendCBOR(dst, AppendEnvelope(scratch[:0], m, v))
}

// DecodeEnvelopeCBOR is DecodeEnvelope for an envelope in CBOR.
func DecodeEnvelopeCBOR(data []byte) (Envelope, error) {
	text, err := AppendCBORAsJSON(nil, data)
	if err != nil {
		return Envelope{}, err
	}
	return DecodeEnvelope(text)
}

// ParseDraftCBOR is ParseDraft for a draft that is a CBOR map. The slices of the
// draft belong to it alone. Offsets in its errors are negative where the CBOR
// could be read but the draft is not right.
func ParseDraftCBOR(payload []byte) (Draft, error) {
	text, err := AppendCBORAsJSON(make([]byte, 0, len(payload)+len(payload)/4), payload)
	if err != nil {
		return Draft{}, err
	}
	if text[0] != '{' {
		return Draft{}, &DraftError{Code: CodeMalformed, Message: "a draft in CBOR has to be a map"}
	}
	d, err := parseJSONDraft(text)
	if de, ok := errors.AsType[*DraftError](err); ok {
		de.Offset = -1
	}
	return d, err
}

// The major types of CBOR.
const (
	cborUint = iota
	cborNegative
	cborBytes
	cborText
	cborArray
	cborMap
	cborTag
	cborOther
)

const (
	cborFalse   = cborOther<<5 | 20
	cborTrue    = cborOther<<5 | 21
	cborNull    = cborOther<<5 | 22
	cborHalf    = 25
	cborFloat32 = cborOther<<5 | 26
	cborFloat64 = cborOther<<5 | 27
	cborBreak   = 0xff
)

// AppendCBOR appends a JSON value as CBOR. The JSON is the server's own or has
// been checked; what does not pass CheckJSON becomes null.
func AppendCBOR(dst, value []byte) []byte {
	from := len(dst)
	s := scan(value, MaxJSONDepth+1) // the envelope may be one level around a body
	s.space()
	dst = s.cbor(dst)
	if s.end(); s.fault != "" {
		return append(dst[:from], cborNull)
	}
	return dst
}

// cbor passes one value and appends it as CBOR.
func (s *scanner) cbor(dst []byte) []byte {
	if s.fault != "" || s.pos >= len(s.data) {
		s.expected("a JSON value should begin here")
		return dst
	}
	at, n := len(dst), 0
	switch c := s.data[s.pos]; c {
	case '{':
		dst = append(dst, 0)
		o := s.object()
		for ; s.member(&o); n++ {
			dst = appendCBORText(dst, o.key)
			dst = s.cbor(dst)
		}
		return putCBORHead(dst, at, cborMap, n)
	case '[':
		dst = append(dst, 0)
		for more := s.array(); more; more = s.next() {
			dst = s.cbor(dst)
			n++
		}
		return putCBORHead(dst, at, cborArray, n)
	case '"':
		text, _ := s.quoted()
		return appendCBORText(dst, text)
	case 't':
		dst = append(dst, cborTrue)
	case 'f':
		dst = append(dst, cborFalse)
	case 'n':
		dst = append(dst, cborNull)
	}
	from := s.pos
	if s.value() && len(dst) == at {
		dst = appendCBORNumber(dst, s.data[from:s.pos])
	}
	return dst
}

// appendCBORHead appends the head of an item: its major type and argument.
func appendCBORHead(dst []byte, major byte, n uint64) []byte {
	major <<= 5
	switch {
	case n < 24:
		return append(dst, major|byte(n))
	case n <= math.MaxUint8:
		return append(dst, major|24, byte(n))
	case n <= math.MaxUint16:
		return append(dst, major|25, byte(n>>8), byte(n))
	case n <= math.MaxUint32:
		return append(dst, major|26, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	return append(dst, major|27, byte(n>>56), byte(n>>48), byte(n>>40), byte(n>>32), byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}

// putCBORHead writes the head of a map or array, for which one byte was left at
// at, and moves the content if it needs more.
func putCBORHead(dst []byte, at int, major byte, n int) []byte {
	var room [9]byte
	head := appendCBORHead(room[:0], major, uint64(n))
	if more := len(head) - 1; more > 0 {
		end := len(dst)
		dst = append(dst, head[:more]...)
		copy(dst[at+len(head):], dst[at+1:end])
	}
	copy(dst[at:], head)
	return dst
}

func appendCBORText(dst, text []byte) []byte {
	dst = appendCBORHead(dst, cborText, uint64(len(text)))
	return append(dst, text...)
}

// appendCBORNumber appends a JSON number.
func appendCBORNumber(dst, number []byte) []byte {
	digits, negative := number, number[0] == '-'
	if negative {
		digits = number[1:]
	}
	n, err := strconv.ParseUint(view(digits), 10, 64)
	switch {
	case err == nil && !negative:
		return appendCBORHead(dst, cborUint, n)
	case err == nil && n > 0: // -0 is a float
		return appendCBORHead(dst, cborNegative, n-1)
	}
	f, _ := strconv.ParseFloat(view(number), 64) // what is out of range becomes infinite
	if f32 := float32(f); float64(f32) == f {
		n := math.Float32bits(f32)
		return append(dst, cborFloat32, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	n = math.Float64bits(f)
	return append(dst, cborFloat64, byte(n>>56), byte(n>>48), byte(n>>40), byte(n>>32), byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}
