package chat

import (
	"math"
	"strconv"
	"strings"
)

// The small payloads beside messages. The server publishes:
//
//	u/{me}/receipts            {"chat":"u/bob","user":"bob","delivered":41,"read":40}
//	                           {"chat":"g/team","seq":41,"delivered_by":5,"read_by":3}
//	u/{me}/typing, g/…/typing  {"user":"bob","typing":true}
//	u/{user}/presence          {"user":"bob","state":"offline","last_seen":1732430000000}
//	u/{me}/sent                {"cid":"…","chat":"u/bob","seq":41,"id":"…","ts":1732430000000}
//	                           {"cid":"…","chat":"u/bob","error":{"code":"…","message":"…"}}
//
// Names, codes and client message ids are valid UTF-8 by their grammars, so the
// functions do not check them. Chats are named as the receiver sees them, times are Unix milliseconds.
// Clients publish:
//
//	u/{user}/read, g/…/read      {"seq":41}
//	u/{user}/typing, g/…/typing  {"typing":true}, or nothing for true
//	u/{me}/presence              {"state":"away"}

// PresenceState is what a user's presence says.
type PresenceState string

// The states. Users choose online, away, busy or invisible; others see the first
// three or offline, which stands for invisible, too.
const (
	PresenceOnline    PresenceState = "online"
	PresenceAway      PresenceState = "away"
	PresenceBusy      PresenceState = "busy"
	PresenceInvisible PresenceState = "invisible" // only from the user
	PresenceOffline   PresenceState = "offline"   // only from the server
)

// AppendReceipt appends a member's watermarks in a chat.
func AppendReceipt(dst []byte, chat, user string, delivered, read uint64) []byte {
	dst = append(dst, `{"chat":`...)
	dst = appendString(dst, chat)
	dst = append(dst, `,"user":`...)
	dst = appendString(dst, user)
	dst = append(dst, `,"delivered":`...)
	dst = strconv.AppendUint(dst, delivered, 10)
	dst = append(dst, `,"read":`...)
	dst = strconv.AppendUint(dst, read, 10)
	return append(dst, '}')
}

// AppendReceiptCounts appends how many members of a group have an entry.
func AppendReceiptCounts(dst []byte, chat string, seq uint64, deliveredBy, readBy int) []byte {
	dst = append(dst, `{"chat":`...)
	dst = appendString(dst, chat)
	dst = append(dst, `,"seq":`...)
	dst = strconv.AppendUint(dst, seq, 10)
	dst = append(dst, `,"delivered_by":`...)
	dst = strconv.AppendInt(dst, int64(deliveredBy), 10)
	dst = append(dst, `,"read_by":`...)
	dst = strconv.AppendInt(dst, int64(readBy), 10)
	return append(dst, '}')
}

// AppendTyping appends that a user is typing, or has stopped.
func AppendTyping(dst []byte, user string, typing bool) []byte {
	dst = append(dst, `{"user":`...)
	dst = appendString(dst, user)
	dst = append(dst, `,"typing":`...)
	dst = strconv.AppendBool(dst, typing)
	return append(dst, '}')
}

// AppendPresence appends a user's presence as others may see it. An invisible
// user is offline to them. lastSeen is left out if zero.
func AppendPresence(dst []byte, user string, state PresenceState, lastSeen int64) []byte {
	if state == PresenceInvisible {
		state = PresenceOffline
	}
	dst = append(dst, `{"user":`...)
	dst = appendString(dst, user)
	dst = append(dst, `,"state":`...)
	dst = appendString(dst, string(state))
	if lastSeen != 0 {
		dst = append(dst, `,"last_seen":`...)
		dst = strconv.AppendInt(dst, lastSeen, 10)
	}
	return append(dst, '}')
}

// AppendSent appends the answer to a publish that was stored. cid is left out
// where the client gave none; ms is the time of the message.
func AppendSent(dst, cid []byte, chat string, seq uint64, id MessageID, ms int64) []byte {
	dst = appendSentHead(dst, cid, chat)
	dst = append(dst, `"seq":`...)
	dst = strconv.AppendUint(dst, seq, 10)
	dst = append(dst, `,"id":"`...)
	dst = id.AppendTo(dst)
	dst = append(dst, `","ts":`...)
	dst = strconv.AppendInt(dst, ms, 10)
	return append(dst, '}')
}

// AppendSentError appends the answer to a publish that was refused. cid is left
// out where the client gave none or it could not be read, chat where the topic
// names none.
func AppendSentError(dst, cid []byte, chat, code, message string) []byte {
	dst = appendSentHead(dst, cid, chat)
	dst = append(dst, `"error":{"code":`...)
	dst = appendString(dst, code)
	dst = append(dst, `,"message":`...)
	dst = appendString(dst, strings.ToValidUTF8(message, "\ufffd"))
	return append(dst, "}}"...)
}

func appendSentHead(dst, cid []byte, chat string) []byte {
	dst = append(dst, '{')
	if len(cid) > 0 {
		dst = append(dst, `"cid":`...)
		dst = appendString(dst, view(cid))
		dst = append(dst, ',')
	}
	if chat != "" {
		dst = append(dst, `"chat":`...)
		dst = appendString(dst, chat)
		dst = append(dst, ',')
	}
	return dst
}

// ParseRead reads up to which seq a user says he has read. The error is a
// *DraftError.
func ParseRead(payload []byte) (seq uint64, err error) {
	s := scan(payload, MaxJSONDepth)
	if s.sole("seq") {
		from := s.pos
		if seq = uint64(s.integer(math.MaxInt64)); seq == 0 {
			s.fail(from, `"seq" has to be a positive whole number`)
		}
	}
	if err := s.soleEnd(); err != nil {
		return 0, err
	}
	return seq, nil
}

// ParseTyping reads whether a user is typing; an empty payload says he is. The
// error is a *DraftError.
func ParseTyping(payload []byte) (typing bool, err error) {
	if len(payload) == 0 {
		return true, nil
	}
	s := scan(payload, MaxJSONDepth)
	if s.sole("typing") {
		from := s.pos
		typing = from < len(payload) && payload[from] == 't'
		if s.value(); s.fault == "" && payload[from] != 't' && payload[from] != 'f' {
			s.fail(from, `"typing" has to be true or false`)
		}
	}
	if err := s.soleEnd(); err != nil {
		return false, err
	}
	return typing, nil
}

// ParsePresence reads the state that a user gives himself: online, away, busy or
// invisible. The error is a *DraftError.
func ParsePresence(payload []byte) (PresenceState, error) {
	s := scan(payload, MaxJSONDepth)
	var state PresenceState
	if s.sole("state") {
		from := s.pos
		text, _ := s.quoted()
		for _, known := range [...]PresenceState{PresenceOnline, PresenceAway, PresenceBusy, PresenceInvisible} {
			if string(text) == string(known) {
				state = known
			}
		}
		if state == "" {
			s.fail(from, `"state" has to be online, away, busy or invisible`)
		}
	}
	if err := s.soleEnd(); err != nil {
		return "", err
	}
	return state, nil
}

// sole enters an object whose only key is key and stops at its value.
func (s *scanner) sole(key string) bool {
	if s.space(); s.pos >= len(s.data) || s.data[s.pos] != '{' {
		return s.fail(s.pos, "the payload has to be a JSON object")
	}
	o := s.object()
	if !s.member(&o) {
		return s.fail(s.pos, `there is no "`+key+`"`)
	}
	if string(o.key) != key {
		s.unknownKey(&o)
		return false
	}
	return true
}

// soleEnd leaves the object that sole has entered and returns what was wrong.
func (s *scanner) soleEnd() error {
	if s.space(); s.fault == "" && !s.accept('}', '}') {
		s.expected(`"}" should be here, the object has one key`)
	}
	s.end()
	return s.err()
}
