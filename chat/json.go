package chat

import "fmt"

// MaxJSONDepth is how deep arrays and objects may nest in anything that a client
// sends.
const MaxJSONDepth = 32

// CodeMalformed is the code word of every DraftError of this package.
const CodeMalformed = "malformed"

// DraftError says what is wrong with something a client published. Its sentence
// is meant for the client's author: it names the byte where reading stopped and
// never quotes the content of a message.
type DraftError struct {
	Code    string // stable code word
	Message string // a sentence
	Offset  int    // of the byte in question, from the start of the payload; negative if unknown
}

// Error returns the sentence and the offset.
func (e *DraftError) Error() string {
	if e.Offset < 0 {
		return e.Message
	}
	return fmt.Sprintf("%s (at byte %d)", e.Message, e.Offset)
}

// CheckJSON tells whether data is one strict JSON value (RFC 8259) in valid UTF-8,
// with white space around it allowed: no key twice in an object (compared after
// decoding), no lone surrogates in escapes, nesting at most maxDepth. The error
// is a *DraftError. It takes time linear in the length of data.
func CheckJSON(data []byte, maxDepth int) error {
	s := scan(data, maxDepth)
	s.space()
	s.value()
	s.end()
	return s.err()
}
