package chat

import (
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"
)

// AppendTextBody appends text as a JSON string, which is the body of a text
// message, and checks in passing that it is valid UTF-8. Only what JSON demands
// is escaped. On error, a *DraftError, dst comes back as it was.
func AppendTextBody(dst, text []byte) ([]byte, error) {
	out, bad := appendString(dst, view(text))
	if bad >= 0 {
		return dst, &DraftError{Code: CodeMalformed, Message: "the text is not valid UTF-8", Offset: bad}
	}
	return out, nil
}

// appendString appends s as a JSON string. It stops at the first byte that is
// not UTF-8 and returns its offset, else -1.
func appendString(dst []byte, s string) (out []byte, bad int) {
	dst = append(dst, '"')
	from := 0
	for i := plain(s); i < len(s); i += plain(s[i:]) {
		for i < len(s) && s[i] >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				return dst, i
			}
			i += n
		}
		if i < len(s) && mustEscape(s[i]) {
			dst = append(dst, s[from:i]...)
			dst = appendEscape(dst, s[i])
			i++
			from = i
		}
	}
	dst = append(dst, s[from:]...)
	return append(dst, '"'), -1
}

// appendName appends a string of ours, in which nothing that is not UTF-8 can
// be. If there is, it is cut off.
func appendName(dst []byte, s string) []byte {
	n := len(dst)
	dst, bad := appendString(dst, s)
	if bad >= 0 {
		dst, _ = appendString(dst[:n], s[:bad])
	}
	return dst
}

// view returns b as a string that lives no longer than b.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// mustEscape tells whether an ASCII byte cannot stand for itself in a string.
func mustEscape(c byte) bool { return c < ' ' || c == '"' || c == '\\' }

func appendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	}
	const hex = "0123456789abcdef"
	return append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
}

// plain returns how many bytes at the start of s are ASCII that stands for itself
// in a JSON string.
func plain[S string | []byte](s S) int {
	const (
		ones = 0x0101010101010101
		high = 0x8080808080808080
	)
	i := 0
	for ; len(s)-i >= 8; i += 8 {
		// The high bit of a byte is set in w where it is no ASCII, in the differences
		// where it is less than a space, a quote or a backslash. Borrows spoil only
		// bytes above one that was found already.
		w := load(s[i : i+8])
		if (w|(w-ones*' ')|((w^ones*'"')-ones)|((w^ones*'\\')-ones))&high != 0 {
			break
		}
	}
	for ; i < len(s); i++ {
		if c := s[i]; c >= utf8.RuneSelf || mustEscape(c) {
			break
		}
	}
	return i
}

// load reads the first 8 bytes of s.
func load[S string | []byte](s S) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// unescape decodes the inside of a JSON string that a scanner has passed. It
// allocates.
func unescape(raw []byte) []byte {
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); {
		if raw[i] != '\\' {
			out = append(out, raw[i])
			i++
			continue
		}
		r, n := readEscape(raw[i:])
		if n == 0 {
			break
		}
		out = utf8.AppendRune(out, r)
		i += n
	}
	return out
}

// readEscape reads the escape at the start of b, which begins with a backslash:
// two of them where they form a surrogate pair. n is zero if it is not valid.
func readEscape(b []byte) (r rune, n int) {
	if len(b) < 2 {
		return 0, 0
	}
	switch b[1] {
	case '"', '\\', '/':
		return rune(b[1]), 2
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'u':
		r, ok := readHex(b[2:])
		if !ok {
			return 0, 0
		}
		if !utf16.IsSurrogate(r) {
			return r, 6
		}
		if len(b) < 12 || b[6] != '\\' || b[7] != 'u' {
			return 0, 0
		}
		low, ok := readHex(b[8:])
		if r = utf16.DecodeRune(r, low); !ok || r == utf8.RuneError {
			return 0, 0
		}
		return r, 12
	}
	return 0, 0
}

// readHex reads four hexadecimal digits.
func readHex(b []byte) (rune, bool) {
	if len(b) < 4 {
		return 0, false
	}
	var v uint16
	for _, c := range b[:4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		v = v<<4 | uint16(c)
	}
	return rune(v), true
}
