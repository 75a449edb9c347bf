package broker

import (
	"tidings/delivery"
)

const hexDigits = "0123456789abcdef"

// appendJSON appends s as a JSON string.
func appendJSON[S string | []byte](b []byte, s S) []byte {
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ' || c == 0x7f:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

// appendError appends {"code","message"}.
func appendError(b []byte, r *delivery.Refusal) []byte {
	b = appendJSON(append(b, `{"code":`...), r.Code)
	b = appendJSON(append(b, `,"message":`...), r.Message)
	return append(b, '}')
}
