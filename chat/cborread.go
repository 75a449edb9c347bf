package chat

import (
	"encoding/base64"
	"math"
	"strconv"
	"unicode/utf8"
)

// AppendCBORAsJSON appends one CBOR value as JSON, the keys in their order. It
// refuses what has no JSON form, nesting beyond MaxJSONDepth and bytes behind
// the value; keys that are twice in a map pass. The error is a *DraftError with
// the offset in data, and dst comes back as it was.
func AppendCBORAsJSON(dst, data []byte) ([]byte, error) {
	r := cborReader{data: data}
	out := r.value(dst)
	if r.fault == "" && r.pos != len(data) {
		r.fail(r.pos, "there is something behind the end of the CBOR value")
	}
	if r.fault != "" {
		return dst, &DraftError{Code: CodeMalformed, Message: r.fault, Offset: r.faultAt}
	}
	return out, nil
}

// cborReader reads CBOR; the first fault stops it.
type cborReader struct {
	data    []byte
	pos     int
	depth   int
	fault   string // "" so far
	faultAt int
}

// cborHead is the head of an item.
type cborHead struct {
	at     int // offset of the item
	major  byte
	minor  byte   // low five bits of the first byte
	arg    uint64 // the argument
	chunks bool   // indefinite length: a break ends it
}

func (r *cborReader) fail(at int, what string) {
	if r.fault == "" {
		r.fault, r.faultAt = what, at
	}
}

// head passes the head of an item. It fails on a break.
func (r *cborReader) head() (h cborHead, ok bool) {
	h.at = r.pos
	if r.fault != "" {
		return h, false
	}
	if r.pos >= len(r.data) {
		r.fail(r.pos, "the CBOR value is cut short")
		return h, false
	}
	first := r.data[r.pos]
	r.pos++
	h.major, h.minor = first>>5, first&31
	switch {
	case h.minor < 24:
		h.arg = uint64(h.minor)
	case h.minor < 28:
		n := 1 << (h.minor - 24)
		if len(r.data)-r.pos < n {
			r.fail(h.at, "the CBOR value is cut short")
			return h, false
		}
		for _, b := range r.data[r.pos : r.pos+n] {
			h.arg = h.arg<<8 | uint64(b)
		}
		r.pos += n
	case h.minor == 31 && h.major >= cborBytes && h.major <= cborMap:
		h.chunks = true
	default:
		r.fail(h.at, "the CBOR value is not well-formed")
		return h, false
	}
	return h, true
}

// value passes one item and appends it as JSON.
func (r *cborReader) value(dst []byte) []byte {
	h, ok := r.head()
	if !ok {
		return dst
	}
	switch h.major {
	case cborUint:
		return strconv.AppendUint(dst, h.arg, 10)
	case cborNegative: // the value is -1-arg
		if h.arg == math.MaxUint64 {
			return append(dst, "-18446744073709551616"...)
		}
		return strconv.AppendUint(append(dst, '-'), h.arg+1, 10)
	case cborBytes:
		dst = append(dst, '"')
		dst = base64.RawURLEncoding.AppendEncode(dst, r.str(h))
		return append(dst, '"')
	case cborText:
		return r.text(dst, h)
	case cborArray, cborMap:
		return r.nest(dst, h)
	case cborTag:
		r.fail(h.at, "CBOR tags have no JSON form")
		return dst
	}
	return r.other(dst, h)
}

// str passes the content of a byte or text string.
func (r *cborReader) str(h cborHead) []byte {
	if !h.chunks {
		if h.arg > uint64(len(r.data)-r.pos) {
			r.fail(h.at, "the CBOR value is cut short")
			return nil
		}
		from := r.pos
		r.pos += int(h.arg)
		return r.data[from:r.pos]
	}
	var whole []byte
	for !r.stop() {
		c, ok := r.head()
		if ok && (c.major != h.major || c.chunks) {
			r.fail(c.at, "the chunks of a CBOR string have to be strings like it")
		}
		if r.fault != "" {
			return nil
		}
		chunk := r.str(c)
		if h.major == cborText && !utf8.Valid(chunk) {
			r.fail(c.at, "the text string is not valid UTF-8")
		}
		whole = append(whole, chunk...)
	}
	return whole
}

// stop passes a break, if one is here.
func (r *cborReader) stop() bool {
	if r.pos < len(r.data) && r.data[r.pos] == cborBreak {
		r.pos++
		return true
	}
	return false
}

func (r *cborReader) text(dst []byte, h cborHead) []byte {
	text := r.str(h)
	if !utf8.Valid(text) {
		r.fail(h.at, "the text string is not valid UTF-8")
		return dst
	}
	return appendString(dst, view(text))
}

// nest passes the content of an array or map.
func (r *cborReader) nest(dst []byte, h cborHead) []byte {
	if r.depth == MaxJSONDepth {
		r.fail(h.at, "the CBOR value nests too deep")
		return dst
	}
	r.depth++
	open, end := byte('['), byte(']')
	if h.major == cborMap {
		open, end = '{', '}'
	}
	dst = append(dst, open)
	for n := uint64(0); r.fault == ""; n++ {
		if h.chunks && r.stop() || !h.chunks && n == h.arg {
			break
		}
		if n > 0 {
			dst = append(dst, ',')
		}
		if h.major == cborMap {
			key, ok := r.head()
			if ok && key.major != cborText {
				r.fail(key.at, "the keys of a CBOR map have to be text strings")
			}
			if r.fault != "" {
				return dst
			}
			dst = append(r.text(dst, key), ':')
		}
		dst = r.value(dst)
	}
	r.depth--
	return append(dst, end)
}

// other appends a simple value or a float.
func (r *cborReader) other(dst []byte, h cborHead) []byte {
	var f float64
	switch first := h.major<<5 | h.minor; first {
	case cborFalse:
		return append(dst, "false"...)
	case cborTrue:
		return append(dst, "true"...)
	case cborNull:
		return append(dst, "null"...)
	case cborOther<<5 | cborHalf:
		f = halfFloat(uint16(h.arg))
	case cborFloat32:
		f = float64(math.Float32frombits(uint32(h.arg)))
	case cborFloat64:
		f = math.Float64frombits(h.arg)
	default:
		r.fail(h.at, "this CBOR value has no JSON form")
		return dst
	}
	if math.IsNaN(f) || math.IsInf(f, 0) {
		r.fail(h.at, "NaN and infinities have no JSON form")
		return dst
	}
	return strconv.AppendFloat(dst, f, 'g', -1, 64)
}

// halfFloat decodes an IEEE 754 half-precision number (RFC 8949, appendix D).
func halfFloat(h uint16) float64 {
	exponent, fraction := int(h>>10&31), float64(h&1023)
	var f float64
	switch exponent {
	case 0:
		f = math.Ldexp(fraction, -24)
	case 31:
		if f = math.Inf(1); fraction != 0 {
			f = math.NaN()
		}
	default:
		f = math.Ldexp(fraction+1024, exponent-25)
	}
	if h>>15 != 0 {
		f = -f
	}
	return f
}
