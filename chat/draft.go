package chat

import (
	"math"
	"unicode"
	"unicode/utf8"
)

// Limits of a draft.
const (
	MaxCID      = 64                 // bytes of a client message id
	MaxRe       = 256                // bytes of a reply target, quotes included
	MaxMentions = 64                 // names in mentions
	MaxTTL      = 366 * 24 * 60 * 60 // seconds
)

// Draft is a message as a client published it. The slices are parts of the
// payload (CID is a copy if it was written with escapes): whoever keeps them
// longer than the payload copies them.
type Draft struct {
	Type string // "text" unless the draft says otherwise

	// Exactly one of these is not nil; AppendBody makes the body of either.
	Text []byte // a plain text, valid UTF-8, not yet a JSON string
	Body []byte // a JSON value, byte for byte as sent

	CID      []byte // client message id, 1 to 64 bytes without control characters; nil if none
	Re       []byte // JSON: a string that is not empty, or a positive integer; nil if none
	Mentions []byte // JSON: an array of at most 64 user names; nil if none
	TTL      int64  // seconds, at most MaxTTL; zero: no end
}

// AppendBody appends what becomes Message.Body: the JSON value, or the text as a
// JSON string.
func (d *Draft) AppendBody(dst []byte) []byte {
	if d.Body != nil {
		return append(dst, d.Body...)
	}
	return appendString(dst, view(d.Text))
}

// DraftOptions say how to read a payload.
type DraftOptions struct {
	// Text takes any payload as a text, also one that begins with "{"
	// (Content Type text/plain).
	Text bool
}

// ParseDraft reads what a client published to a user or group. A payload that
// begins with "{" is a JSON object:
//
//	{"body":…,"cid":"…","type":"…","re":"…" or seq,"ttl":seconds,"mentions":["…"]}
//
// of which body alone is required; other keys are refused, and so is all that
// CheckJSON refuses at MaxJSONDepth. Anything else is a text, which must be
// UTF-8 and not empty. The error is a *DraftError. The length of the payload is
// the caller's business.
func ParseDraft(payload []byte, opts DraftOptions) (Draft, error) {
	switch {
	case len(payload) == 0:
		return Draft{}, &DraftError{Code: CodeMalformed, Message: "the message is empty"}
	case payload[0] == '{' && !opts.Text:
		return parseJSONDraft(payload)
	case !utf8.Valid(payload):
		return Draft{}, &DraftError{
			Code: CodeMalformed, Message: "the payload is neither UTF-8 text nor a JSON draft", Offset: invalidAt(payload),
		}
	}
	return Draft{Type: TypeText, Text: payload}, nil
}

func parseJSONDraft(payload []byte) (Draft, error) {
	d := Draft{Type: TypeText}
	s := scan(payload, MaxJSONDepth)
	o := s.object()
	for s.member(&o) {
		from := s.pos
		switch string(o.key) {
		case "body":
			s.value()
			d.Body = payload[from:s.pos:s.pos]
		case "cid":
			d.CID = s.cid()
		case "type":
			d.Type = s.typ()
		case "re":
			s.re()
			d.Re = payload[from:s.pos:s.pos]
		case "ttl":
			if d.TTL = s.integer(MaxTTL); d.TTL == 0 {
				s.fail(from, `"ttl" has to be a positive whole number of seconds, at most 366 days`)
			}
		case "mentions":
			s.mentions()
			d.Mentions = payload[from:s.pos:s.pos]
		default:
			s.unknownKey(&o)
		}
	}
	s.end()
	if s.fault == "" && d.Body == nil {
		s.fail(0, `the draft has no "body"`)
	}
	if s.fault != "" {
		return Draft{}, s.err()
	}
	return d, nil
}

// unknownKey fails with the name of a key that does not belong here, if it looks
// like a name at all.
func (s *scanner) unknownKey(o *object) {
	what := "there is an unknown key"
	if len(o.key) > 0 && len(o.key) <= 32 && printableASCII(o.key) {
		what += ` "` + string(o.key) + `"`
	}
	s.fail(o.at, what)
}

func printableASCII(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

// quoted passes a string and returns it decoded, a part of the data unless it
// has escapes. ok is false, without a fault, where no string begins.
func (s *scanner) quoted() (text []byte, ok bool) {
	if s.pos >= len(s.data) || s.data[s.pos] != '"' {
		return nil, false
	}
	from := s.pos
	escaped, ok := s.str()
	if !ok {
		return nil, false
	}
	text = s.data[from+1 : s.pos-1 : s.pos-1]
	if escaped {
		text = unescape(text)
	}
	return text, true
}

func (s *scanner) cid() []byte {
	from := s.pos
	text, ok := s.quoted()
	if !ok || !ValidCID(text) {
		s.fail(from, `"cid" has to be a string of 1 to 64 bytes without control characters`)
		return nil
	}
	return text
}

// ValidCID tells whether b may be a client message id: 1 to 64 bytes of UTF-8, all
// of it printable.
func ValidCID(b []byte) bool {
	if len(b) == 0 || len(b) > MaxCID || !utf8.Valid(b) {
		return false
	}
	for i := 0; i < len(b); {
		if c := b[i]; c >= ' ' && c <= '~' {
			i++
			continue
		}
		r, n := utf8.DecodeRune(b[i:])
		if !unicode.IsPrint(r) {
			return false
		}
		i += n
	}
	return true
}

func (s *scanner) typ() string {
	from := s.pos
	text, ok := s.quoted()
	switch {
	case !ok || !ValidType(text):
		s.fail(from, `"type" has to be a string [a-z0-9][a-z0-9._-]{0,63}`)
	case IsSystem(view(text)):
		s.fail(from, `types that begin with "sys." are the server's own`)
	default:
		return typeName(text)
	}
	return ""
}

// ValidType tells whether s has the form of an entry's type:
// [a-z0-9][a-z0-9._-]{0,63}, the server's own types included.
func ValidType[S string | []byte](s S) bool {
	if len(s) == 0 || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
		case i > 0 && (c == '.' || c == '_' || c == '-'):
		default:
			return false
		}
	}
	return true
}

// typeName is string(b) without allocation for types that are common.
func typeName(b []byte) string {
	for _, t := range [...]string{TypeText, "image", "video", "audio", "voice", "file", "reaction", "edit", "delete", "encrypted"} {
		if string(b) == t {
			return t
		}
	}
	return string(b)
}

func (s *scanner) re() {
	from := s.pos
	if text, ok := s.quoted(); ok {
		if len(text) > 0 && s.pos-from <= MaxRe {
			return
		}
	} else if s.integer(math.MaxInt64) > 0 {
		return
	}
	s.fail(from, `"re" has to be a message id or a positive seq`)
}

func (s *scanner) mentions() {
	const what = `"mentions" has to be an array of at most 64 user names`
	if s.pos >= len(s.data) || s.data[s.pos] != '[' {
		s.fail(s.pos, what)
		return
	}
	n := 0
	for more := s.array(); more; more = s.next() {
		from := s.pos
		name, ok := s.quoted()
		if n++; !ok || !ValidType(name) || n > MaxMentions { // types and names share their grammar
			s.fail(from, what)
			return
		}
	}
}

// integer passes a positive integer, written without fraction and exponent, of
// at most limit. It returns zero, without a fault, where there is none.
func (s *scanner) integer(limit int64) int64 {
	from, n := s.pos, int64(0)
	if s.fault != "" || !s.digits() || s.data[from] == '0' {
		return 0
	}
	for _, c := range s.data[from:s.pos] {
		d := int64(c - '0')
		if n > (limit-d)/10 {
			return 0
		}
		n = n*10 + d
	}
	if s.pos < len(s.data) {
		switch s.data[s.pos] {
		case '.', 'e', 'E':
			return 0
		}
	}
	return n
}
