package topics

// Limits of the grammar, in bytes.
const (
	MaxName   = 64    // of a user or group id
	MaxClient = 128   // of a client identifier
	MaxRID    = 64    // of the rid of a request
	MaxTopic  = 65535 // of any topic name or filter [MQTT-4.7.3-3]
)

// MaxLevels is how many levels a topic name or filter below u/ and g/ may have.
// The deepest one in use is u/{user}/rpc/{rid}; clients may structure their
// response topics a little further.
const MaxLevels = 8

// ValidName tells whether s is a user or group id: [a-z0-9][a-z0-9._-]{0,63}.
func ValidName[S string | []byte](s S) bool {
	if len(s) == 0 || len(s) > MaxName || !alnum(s[0]) {
		return false
	}
	for i := 1; i < len(s); i++ {
		if c := s[i]; !alnum(c) && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// ValidClient tells whether s may be a client identifier, and so the name of a
// device: 1 to 128 printable ASCII bytes, space included.
func ValidClient[S string | []byte](s S) bool {
	if len(s) == 0 || len(s) > MaxClient {
		return false
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// ValidRID tells whether s may be the rid of a request: 1 to 64 printable ASCII
// bytes that can stand as one topic level, so none of "/", "+" and "#".
func ValidRID[S string | []byte](s S) bool {
	if len(s) == 0 || len(s) > MaxRID {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || c == '/' || c == '+' || c == '#' {
			return false
		}
	}
	return true
}

// ValidOperation tells whether s has the form of an operation's name:
// [a-z]+(\.[a-z_]+)*, at most 64 bytes: group.create, history.
func ValidOperation[S string | []byte](s S) bool {
	if len(s) > MaxName {
		return false
	}
	dots, part := 0, 0 // part: length of the part under way
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c == '_' && dots > 0:
			part++
		case c == '.' && part > 0:
			dots, part = dots+1, 0
		default:
			return false
		}
	}
	return part > 0
}

func alnum(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' }
