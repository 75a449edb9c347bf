package topics

// Kind is what a topic name stands for.
type Kind uint8

// The kinds of topic. Name and RID below are the fields of Topic.
const (
	None        Kind = iota // not a topic of the platform
	User                    // u/{Name}
	Group                   // g/{Name}
	UserTyping              // u/{Name}/typing
	GroupTyping             // g/{Name}/typing
	UserRead                // u/{Name}/read
	GroupRead               // g/{Name}/read
	Presence                // u/{Name}/presence
	Receipts                // u/{Name}/receipts
	Events                  // u/{Name}/events
	Sent                    // u/{Name}/sent
	UserRPC                 // u/{Name}/rpc/{RID}
	RPC                     // rpc/{Name}, where Name is an operation
	kinds
)

// suffixes are what follows the name in a topic of each kind; empty where
// nothing follows or the kind has a form of its own.
var suffixes = [kinds]string{
	UserTyping: "typing", GroupTyping: "typing",
	UserRead: "read", GroupRead: "read",
	Presence: "presence", Receipts: "receipts", Events: "events", Sent: "sent",
}

// Topic is a parsed topic name. Name and RID are parts of what was parsed and
// live as long as that.
type Topic[S string | []byte] struct {
	Kind Kind
	Name S // user, group or operation
	RID  S // of UserRPC only: what follows rpc/, which may have several levels
}

// Parse reads a topic name. Anything that is not exactly a topic of the platform
// is of kind None; wildcards never parse.
func Parse[S string | []byte](topic S) Topic[S] {
	if len(topic) < 3 {
		return Topic[S]{}
	}
	if topic[1] != '/' {
		if len(topic) > 4 && string(topic[:4]) == "rpc/" && ValidOperation(topic[4:]) {
			return Topic[S]{Kind: RPC, Name: topic[4:]}
		}
		return Topic[S]{}
	}
	name, rest := cut(topic[2:])
	if !ValidName(name) {
		return Topic[S]{}
	}
	bare := len(topic) == 2+len(name)
	switch topic[0] {
	case 'u':
		return parseUser(name, rest, bare)
	case 'g':
		return parseGroup(name, rest, bare)
	}
	return Topic[S]{}
}

func parseUser[S string | []byte](name, rest S, bare bool) Topic[S] {
	if bare {
		return Topic[S]{Kind: User, Name: name}
	}
	switch string(rest) {
	case "typing":
		return Topic[S]{Kind: UserTyping, Name: name}
	case "read":
		return Topic[S]{Kind: UserRead, Name: name}
	case "presence":
		return Topic[S]{Kind: Presence, Name: name}
	case "receipts":
		return Topic[S]{Kind: Receipts, Name: name}
	case "events":
		return Topic[S]{Kind: Events, Name: name}
	case "sent":
		return Topic[S]{Kind: Sent, Name: name}
	}
	if len(rest) > 4 && string(rest[:4]) == "rpc/" {
		if rid := rest[4:]; ValidTopicName(rid) && levels(rid) <= MaxLevels-3 {
			return Topic[S]{Kind: UserRPC, Name: name, RID: rid}
		}
	}
	return Topic[S]{}
}

func parseGroup[S string | []byte](name, rest S, bare bool) Topic[S] {
	if bare {
		return Topic[S]{Kind: Group, Name: name}
	}
	switch string(rest) {
	case "typing":
		return Topic[S]{Kind: GroupTyping, Name: name}
	case "read":
		return Topic[S]{Kind: GroupRead, Name: name}
	}
	return Topic[S]{}
}

// Append appends the topic name of a kind: Append(b, Receipts, "bob") appends
// u/bob/receipts. The name must be valid for the kind. UserRPC needs AppendAnswer,
// and None has no name; both append nothing.
func Append[S string | []byte](dst []byte, kind Kind, name S) []byte {
	switch kind {
	case User, UserTyping, UserRead, Presence, Receipts, Events, Sent:
		dst = append(dst, 'u', '/')
	case Group, GroupTyping, GroupRead:
		dst = append(dst, 'g', '/')
	case RPC:
		dst = append(dst, "rpc/"...)
	default:
		return dst
	}
	dst = append(dst, name...)
	if suffix := suffixes[kind]; suffix != "" {
		dst = append(dst, '/')
		dst = append(dst, suffix...)
	}
	return dst
}

// AppendAnswer appends u/{user}/rpc/{rid}, where the answer to a request goes
// that named no response topic. The rid must be valid.
func AppendAnswer[S string | []byte](dst []byte, user string, rid S) []byte {
	dst = append(dst, 'u', '/')
	dst = append(dst, user...)
	dst = append(dst, "/rpc/"...)
	return append(dst, rid...)
}

// cut splits s at its first slash, which belongs to neither part.
func cut[S string | []byte](s S) (first, rest S) {
	for i := range len(s) {
		if s[i] == '/' {
			return s[:i], s[i+1:]
		}
	}
	return s, s[len(s):]
}

// levels counts the levels of a topic name or filter.
func levels[S string | []byte](s S) int {
	n := 1
	for i := range len(s) {
		if s[i] == '/' {
			n++
		}
	}
	return n
}
