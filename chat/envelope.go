package chat

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// An envelope is a message as its receivers get it, one JSON object without
// white space:
//
//	{"id":"0190163d-…","chat":"u/alice","seq":41,"from":"alice","device":"laptop",
//	 "ts":1732430000000,"type":"text","cid":"…","re":…,"mentions":[…],"expires":…,"body":…}
//
// cid, re, mentions and expires (when the ttl ends, in Unix milliseconds as ts)
// are there where the draft had them; from and device are missing in entries that
// the server or an operator made. In place of body stands "cut":true if the whole
// does not fit what the receiver accepts, and "stub":true if retention has
// removed it. Everything but chat is the same for every receiver.

// View is how one receiver sees a message.
type View struct {
	Chat   string // topic to publish a reply to: u/{user}, g/{group} or u/{user}/events
	From   string // name of the sender, "" for none
	Device string // name of the sending device, "" for none
	Cut    bool   // leave out the body and say so
}

// AppendEnvelope appends the envelope of m in one view. It does not allocate
// beyond growing dst. The strings of m and v are valid by their grammars and not
// checked; re, mentions and body are taken as the JSON they are.
func AppendEnvelope(dst []byte, m *Message, v View) []byte {
	dst = AppendEnvelopeHead(dst, m, v.Chat)
	return AppendEnvelopeTail(dst, m, v)
}

// AppendEnvelopeHead appends the part of an envelope that depends on the
// receiver. Behind it belongs a tail, which all receivers may share.
func AppendEnvelopeHead(dst []byte, m *Message, chat string) []byte {
	dst = append(dst, `{"id":"`...)
	dst = m.ID.AppendTo(dst)
	dst = append(dst, `","chat":`...)
	dst = appendString(dst, chat)
	return append(dst, ',')
}

// AppendEnvelopeTail appends the rest of an envelope, for which v.Chat does not
// matter.
func AppendEnvelopeTail(dst []byte, m *Message, v View) []byte {
	dst = append(dst, `"seq":`...)
	dst = strconv.AppendUint(dst, m.Seq, 10)
	if v.From != "" {
		dst = append(dst, `,"from":`...)
		dst = appendString(dst, v.From)
	}
	if v.Device != "" {
		dst = append(dst, `,"device":`...)
		dst = appendString(dst, v.Device)
	}
	dst = append(dst, `,"ts":`...)
	dst = strconv.AppendInt(dst, m.Time, 10)
	dst = append(dst, `,"type":`...)
	dst = appendString(dst, m.Type)
	if len(m.CID) > 0 {
		dst = append(dst, `,"cid":`...)
		dst = appendString(dst, view(m.CID))
	}
	if len(m.Re) > 0 {
		dst = append(dst, `,"re":`...)
		dst = append(dst, m.Re...)
	}
	if len(m.Mentions) > 0 {
		dst = append(dst, `,"mentions":`...)
		dst = append(dst, m.Mentions...)
	}
	if m.Expires != 0 {
		dst = append(dst, `,"expires":`...)
		dst = strconv.AppendInt(dst, m.Expires, 10)
	}
	switch {
	case m.Stub:
		return append(dst, `,"stub":true}`...)
	case v.Cut:
		return append(dst, `,"cut":true}`...)
	case len(m.Body) == 0:
		return append(dst, `,"body":null}`...)
	}
	dst = append(dst, `,"body":`...)
	dst = append(dst, m.Body...)
	return append(dst, '}')
}

// Envelope is an envelope as a client reads it.
type Envelope struct {
	ID       MessageID       `json:"id"`
	Chat     string          `json:"chat"`
	Seq      uint64          `json:"seq"`
	From     string          `json:"from,omitempty"`
	Device   string          `json:"device,omitempty"`
	Time     int64           `json:"ts"` // Unix milliseconds
	Type     string          `json:"type"`
	CID      string          `json:"cid,omitempty"`
	Re       json.RawMessage `json:"re,omitempty"`
	Mentions []string        `json:"mentions,omitempty"`
	Expires  int64           `json:"expires,omitempty"` // Unix milliseconds, zero: never
	Stub     bool            `json:"stub,omitempty"`    // retention has removed the body
	Cut      bool            `json:"cut,omitempty"`     // the body was too large for the receiver
	Body     json.RawMessage `json:"body,omitempty"`    // nil with Stub and Cut
}

// Text returns the body of a text, and false if the body is no JSON string.
func (e *Envelope) Text() (string, bool) {
	if len(e.Body) == 0 || e.Body[0] != '"' {
		return "", false
	}
	var s string
	err := json.Unmarshal(e.Body, &s)
	return s, err == nil
}

// DecodeEnvelope reads an envelope, for clients and tests: strict JSON with the
// fields that every envelope has. It ignores fields it does not know, as clients
// should. The envelope shares nothing with data.
func DecodeEnvelope(data []byte) (Envelope, error) {
	var e Envelope
	if err := CheckJSON(data, MaxJSONDepth); err != nil {
		return Envelope{}, fmt.Errorf("decode envelope: %w", err)
	}
	if err := json.Unmarshal(data, &e); err != nil {
		return Envelope{}, fmt.Errorf("decode envelope: %w", err)
	}
	switch {
	case e.ID == MessageID{}:
		return Envelope{}, errors.New("decode envelope: no id")
	case e.Chat == "":
		return Envelope{}, errors.New("decode envelope: no chat")
	case e.Seq == 0:
		return Envelope{}, errors.New("decode envelope: no seq")
	case !ValidType(e.Type):
		return Envelope{}, errors.New("decode envelope: no valid type")
	case (e.Body == nil) != (e.Stub || e.Cut):
		return Envelope{}, errors.New("decode envelope: one of body, stub and cut is needed")
	}
	return e, nil
}
