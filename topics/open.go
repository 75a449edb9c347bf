package topics

import (
	"errors"
	"fmt"
	"strings"
)

// ErrMalformedShare refuses a filter that begins with $share/ and is not
// $share/{name}/{filter} with a name of at least one character, without wildcards,
// and a valid filter [MQTT-4.8.2-1, MQTT-4.8.2-2].
var ErrMalformedShare = &Refusal{"malformed_filter", "the shared subscription is not $share/{name}/{filter}"}

// LineError says what is wrong with one of several filters or rules.
type LineError struct {
	Line int // which one, from 1
	Text string
}

// Error returns the number and what is wrong.
func (e *LineError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Text) }

// Open says which topics are open: plain MQTT topics, beside those of the chats,
// in which anything may be published. The zero Open has none, and so has a nil
// *Open. It does not change.
type Open struct {
	filters []string
	any     bool // all but u/ and g/
}

// AnyOpen returns the Open of a listener for conformance tests: every topic, but
// those whose first level is u or g, and $SYS/… and $share/….
func AnyOpen() Open { return Open{any: true} }

// NewOpen returns the Open of some filters. They must be valid, and neither match
// a topic of a chat or a request nor one that begins with "$". The error joins a
// *LineError for each that is refused.
func NewOpen(filters []string) (Open, error) {
	var o Open
	var errs []error
	for i, f := range filters {
		if text := refuseOpen(f); text != "" {
			errs = append(errs, &LineError{i + 1, fmt.Sprintf("%q %s", f, text)})
		}
		o.filters = append(o.filters, f)
	}
	if errs != nil {
		return Open{}, errors.Join(errs...)
	}
	return o, nil
}

// refuseOpen returns why topics may not be opened by a filter, or "".
func refuseOpen(filter string) string {
	if !ValidFilter(filter) {
		return "is not a valid topic filter"
	}
	switch first, _ := cut(filter); {
	case first == "#" || first == "+":
		return "would open the topics of the chats as well: its first level must be a name, as in open/#"
	case first == "u" || first == "g" || first == "rpc":
		return "is about topics of the platform: " + first + "/… cannot be open"
	case filter[0] == '$':
		return "begins with $, which is for the server's own topics"
	}
	return ""
}

// Has tells whether a valid topic name is one of an open topic. It allocates
// nothing.
func (o *Open) Has(topic []byte) bool {
	if o == nil || len(topic) == 0 {
		return false
	}
	if o.any {
		switch first, _ := cut(topic); string(first) {
		case "u", "g", "$SYS", "$share":
			return false
		}
		return true
	}
	for _, f := range o.filters {
		if Match(f, topic) {
			return true
		}
	}
	return false
}

// Overlaps tells whether a topic filter, without $share/{name}/, may match an open
// topic. "#" and "+/…" do where there is any; what they select is open topics
// only. It is false for a filter that is not valid. With AnyOpen it is true for
// all but u/… and g/….
func (o *Open) Overlaps(filter string) bool {
	if o == nil || !ValidFilter(filter) {
		return false
	}
	if o.any {
		first, _ := cut(filter)
		return first != "u" && first != "g"
	}
	for _, f := range o.filters {
		if overlap(f, filter) {
			return true
		}
	}
	return false
}

// sharePrefix begins the filters of shared subscriptions.
const sharePrefix = "$share/"

// IsShared tells whether a filter means to be that of a shared subscription, be it
// well formed or not.
func IsShared(filter string) bool { return strings.HasPrefix(filter, sharePrefix) }

// ParseShared splits the filter of a shared subscription, $share/{share}/{rest}.
// With IsShared and not ok it is refused with ErrMalformedShare.
func ParseShared(filter string) (share, rest string, ok bool) {
	name, found := strings.CutPrefix(filter, sharePrefix)
	if !found || !ValidFilter(filter) {
		return "", "", false
	}
	share, rest = cut(name)
	if share == "" || share == "+" || rest == "" {
		return "", "", false
	}
	return share, rest, true
}
