package chat

import (
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"
)

// AppendTextBody appends text as a JSON string, which is the body of a text
// message. Only what JSON demands is escaped. If text is not valid UTF-8, the
// error is a *DraftError and dst comes back as it was.
func AppendTextBody(dst, text []byte) ([]byte, error) {
	if !utf8.Valid(text) {
		return dst, &DraftError{Code: CodeMalformed, Message: "the text is not valid UTF-8", Offset: invalidAt(text)}
	}
	return appendString(dst, view(text)), nil
}

// invalidAt returns the offset of the first byte that is not UTF-8.
func invalidAt(b []byte) int {
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return len(b)
}

// appendString appends s, which is valid UTF-8, as a JSON string.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for {
		n := plain(s)
		dst = append(dst, s[:n]...)
		if n == len(s) {
			return append(dst, '"')
		}
		dst = appendEscape(dst, s[n])
		s = s[n+1:]
	}
}

// view returns b as a string that lives no longer than b.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// mustEscape tells whether a byte cannot stand for itself in a string.
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
	return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}

// plain returns how many bytes at the start of s stand for themselves in a JSON
// string, if s is valid UTF-8.
func plain(s string) int {
	i := 0
	for ; len(s)-i >= 8; i += 8 {
		if !plainWord(load(s[i:])) {
			break
		}
	}
	if n := len(s); n > 8 && n-i < 8 && plainWord(load(s[n-8:])) {
		return n // the last word overlaps the one before
	}
	for ; i < len(s); i++ {
		if mustEscape(s[i]) {
			break
		}
	}
	return i
}

// plainWord is plain for 8 bytes at once. The high bit of a byte is set in the
// three differences where the byte is less than a space, a quote or a backslash,
// unless it was set before. Borrows spoil only bytes above one that was found.
func plainWord(w uint64) bool {
	const (
		ones = 0x0101010101010101
		high = 0x8080808080808080
	)
	return ((w-ones*' ')|((w^ones*'"')-ones)|((w^ones*'\\')-ones))&^w&high == 0
}

// load reads the first 8 bytes of s.
func load(s string) uint64 {
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
