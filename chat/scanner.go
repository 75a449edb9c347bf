package chat

import "unicode/utf8"

// scan returns a scanner of data, which has failed already if data is not UTF-8.
func scan(data []byte, maxDepth int) scanner {
	s := scanner{data: data, maxDepth: maxDepth}
	if !utf8.Valid(data) {
		s.fail(invalidAt(data), "the JSON value is not valid UTF-8")
	}
	return s
}

// scanner reads JSON by hand. The first fault stops it: from then on every
// method returns false. It allocates only for keys with escapes and for objects
// with many keys, and lives on its user's stack.
type scanner struct {
	data     []byte
	pos      int
	depth    int
	maxDepth int

	fault   string // what is wrong, "" so far
	faultAt int

	keys keyring
}

func (s *scanner) fail(at int, what string) bool {
	if s.fault == "" {
		s.fault, s.faultAt = what, at
	}
	return false
}

// err returns the fault as a *DraftError, or nil.
func (s *scanner) err() error {
	if s.fault == "" {
		return nil
	}
	return &DraftError{Code: CodeMalformed, Message: s.fault, Offset: s.faultAt}
}

// space skips white space.
func (s *scanner) space() {
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

// end wants nothing but white space up to the end of the data.
func (s *scanner) end() bool {
	if s.fault != "" {
		return false
	}
	if s.space(); s.pos != len(s.data) {
		return s.fail(s.pos, "there is something behind the end of the JSON value")
	}
	return true
}

// value passes one value, which begins at pos; afterwards pos is right behind it.
func (s *scanner) value() bool {
	if s.fault != "" {
		return false
	}
	if s.pos >= len(s.data) {
		return s.fail(s.pos, "the JSON value is cut short")
	}
	switch c := s.data[s.pos]; c {
	case '{':
		o := s.object()
		for s.member(&o) {
			if !s.value() {
				return false
			}
		}
		return s.fault == ""
	case '[':
		for more := s.array(); more; more = s.next() {
			if !s.value() {
				return false
			}
		}
		return s.fault == ""
	case '"':
		_, ok := s.str()
		return ok
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	case 'n':
		return s.word("null")
	default:
		if c == '-' || c >= '0' && c <= '9' {
			return s.number()
		}
		return s.fail(s.pos, "a JSON value should begin here")
	}
}

// array enters an array at "[". It returns true if an element follows, at pos.
func (s *scanner) array() bool {
	if s.fault != "" || !s.enter() {
		return false
	}
	if s.space(); s.pos < len(s.data) && s.data[s.pos] == ']' {
		s.leave()
		return false
	}
	return true
}

// next goes on behind an element of an array: true if another one follows.
func (s *scanner) next() bool {
	if s.fault != "" {
		return false
	}
	s.space()
	if s.pos >= len(s.data) {
		return s.fail(s.pos, "the JSON value is cut short")
	}
	switch s.data[s.pos] {
	case ',':
		s.pos++
		s.space()
		return true
	case ']':
		s.leave()
		return false
	}
	return s.fail(s.pos, `"," or "]" should be here`)
}

// object enters an object at "{"; member then goes through it.
func (s *scanner) object() object {
	o := object{first: true}
	if s.fault == "" && s.enter() {
		o.keys = s.keys.open()
	}
	return o
}

// member goes on to the next member of an object: true if there is one, with its
// key in o and pos at its value.
func (s *scanner) member(o *object) bool {
	if s.fault != "" {
		return false
	}
	s.space()
	if s.pos < len(s.data) && s.data[s.pos] == '}' {
		s.leave()
		s.keys.close(o.keys)
		return false
	}
	if !o.first {
		if s.pos >= len(s.data) || s.data[s.pos] != ',' {
			return s.expected(`"," or "}" should be here`)
		}
		s.pos++
		s.space()
	}
	o.first = false
	if s.pos >= len(s.data) || s.data[s.pos] != '"' {
		return s.expected("a key in double quotes should be here")
	}
	o.at = s.pos
	escaped, ok := s.str()
	if !ok {
		return false
	}
	o.key = s.data[o.at+1 : s.pos-1]
	if escaped {
		o.key = unescape(o.key)
	}
	if !s.keys.add(&o.keys, o.key) {
		return s.fail(o.at, "a key is twice in the same JSON object")
	}
	if s.space(); s.pos >= len(s.data) || s.data[s.pos] != ':' {
		return s.expected(`":" should be here`)
	}
	s.pos++
	s.space()
	return true
}

// object is a place in an object that is being read.
type object struct {
	key   []byte // of the present member, decoded
	at    int    // where the key begins
	first bool
	keys  keyset
}

func (s *scanner) expected(what string) bool {
	if s.pos >= len(s.data) {
		what = "the JSON value is cut short"
	}
	return s.fail(s.pos, what)
}

// enter passes an opening bracket.
func (s *scanner) enter() bool {
	if s.depth == s.maxDepth {
		return s.fail(s.pos, "the JSON value nests too deep")
	}
	s.depth++
	s.pos++
	return true
}

// leave passes a closing bracket.
func (s *scanner) leave() {
	s.depth--
	s.pos++
}

func (s *scanner) word(w string) bool {
	if len(s.data)-s.pos < len(w) || string(s.data[s.pos:s.pos+len(w)]) != w {
		return s.fail(s.pos, "a JSON value should begin here")
	}
	s.pos += len(w)
	return true
}

// number passes a number: -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?
func (s *scanner) number() bool {
	at := s.pos
	s.accept('-', '-')
	if !s.accept('0', '0') && !s.digits() {
		return s.fail(at, "the number is not valid JSON")
	}
	if s.accept('.', '.') && !s.digits() {
		return s.fail(at, "the number is not valid JSON")
	}
	if s.accept('e', 'E') {
		s.accept('+', '-')
		if !s.digits() {
			return s.fail(at, "the number is not valid JSON")
		}
	}
	return true
}

// accept passes one byte if it is a or b.
func (s *scanner) accept(a, b byte) bool {
	if s.pos < len(s.data) && (s.data[s.pos] == a || s.data[s.pos] == b) {
		s.pos++
		return true
	}
	return false
}

// digits passes one digit or more.
func (s *scanner) digits() bool {
	from := s.pos
	for s.pos < len(s.data) && s.data[s.pos] >= '0' && s.data[s.pos] <= '9' {
		s.pos++
	}
	return s.pos > from
}

// str passes a string at its opening quote and tells whether it holds escapes.
func (s *scanner) str() (escaped, ok bool) {
	s.pos++
	for {
		s.pos += plain(view(s.data[s.pos:]))
		if s.pos >= len(s.data) {
			return escaped, s.fail(s.pos, "the JSON value is cut short")
		}
		switch s.data[s.pos] {
		case '"':
			s.pos++
			return escaped, true
		case '\\':
			if escaped = true; !s.escape() {
				return true, false
			}
		default:
			return escaped, s.fail(s.pos, "a control character in a string has to be escaped")
		}
	}
}

// escape passes one escape, or two that form a surrogate pair.
func (s *scanner) escape() bool {
	_, n := readEscape(s.data[s.pos:])
	if n == 0 {
		return s.fail(s.pos, "the escape is not valid JSON, or half of a surrogate pair")
	}
	s.pos += n
	return true
}
