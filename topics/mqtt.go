package topics

import (
	"unicode/utf8"
	"unsafe"
)

// ValidTopicName tells whether s may be published to by the rules of MQTT: 1 to
// 65,535 bytes of UTF-8 without NUL and wildcards [MQTT-1.5.4-1, MQTT-1.5.4-2,
// MQTT-3.3.2-2, MQTT-4.7.3-1].
func ValidTopicName[S string | []byte](s S) bool {
	if len(s) == 0 || len(s) > MaxTopic {
		return false
	}
	ascii := true
	for i := range len(s) {
		switch c := s[i]; {
		case c == 0, c == '+', c == '#':
			return false
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	return ascii || utf8.ValidString(view(s))
}

// ValidFilter tells whether s may be subscribed to by the rules of MQTT: as a
// topic name, with "+" only as a whole level and "#" only as the last one
// [MQTT-4.7.1-1, MQTT-4.7.1-2].
func ValidFilter[S string | []byte](s S) bool {
	if len(s) == 0 || len(s) > MaxTopic {
		return false
	}
	ascii := true
	for i := range len(s) {
		switch c := s[i]; {
		case c == 0:
			return false
		case c == '+' || c == '#':
			last := i == len(s)-1
			if i > 0 && s[i-1] != '/' || !last && (c == '#' || s[i+1] != '/') {
				return false
			}
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	return ascii || utf8.ValidString(view(s))
}

// Match tells whether a valid filter selects a valid topic name. "#" includes
// the level above it; wildcards at the first level never select a topic that
// begins with "$" [MQTT-4.7.1-2, MQTT-4.7.1-3, MQTT-4.7.2-1].
func Match[F, T string | []byte](filter F, topic T) bool {
	if len(filter) == 0 || len(topic) == 0 {
		return false
	}
	if topic[0] == '$' && (filter[0] == '+' || filter[0] == '#') {
		return false
	}
	return matchLevels(filter, topic)
}

// matchLevels is Match without the rule about "$".
func matchLevels[F, T string | []byte](filter F, topic T) bool {
	f, t := 0, 0
	for {
		switch {
		case f < len(filter) && filter[f] == '#':
			return true
		case f < len(filter) && filter[f] == '+':
			f++
			for t < len(topic) && topic[t] != '/' {
				t++
			}
		default:
			for f < len(filter) && filter[f] != '/' {
				if t == len(topic) || topic[t] != filter[f] {
					return false
				}
				f, t = f+1, t+1
			}
			if t < len(topic) && topic[t] != '/' {
				return false
			}
		}
		// Both stand at the end of a level.
		switch {
		case f == len(filter):
			return t == len(topic)
		case t == len(topic):
			return string(filter[f:]) == "/#"
		}
		f, t = f+1, t+1
	}
}

// view returns the bytes of s as a string that lives no longer than s.
func view[S string | []byte](s S) string {
	switch s := any(&s).(type) {
	case *string:
		return *s
	case *[]byte:
		return unsafe.String(unsafe.SliceData(*s), len(*s))
	}
	return ""
}
