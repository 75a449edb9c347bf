package topics

// Refusal says why a topic or filter is refused: a code word for programs, which
// never changes, and a sentence for people. errors.Is compares the code words.
type Refusal struct {
	Code    string
	Message string
}

// Error returns the sentence.
func (r *Refusal) Error() string { return r.Message }

// Is tells whether target is a refusal with the same code word.
func (r *Refusal) Is(target error) bool {
	t, ok := target.(*Refusal)
	return ok && t.Code == r.Code
}

// The refusals of this package, one for each code word.
var (
	// ErrMalformedFilter: not a topic filter by the rules of MQTT.
	ErrMalformedFilter = &Refusal{"malformed_filter", "the topic filter is not valid"}

	// ErrSharedSubscription: a filter that begins with $share/.
	ErrSharedSubscription = &Refusal{"shared_subscription", "shared subscriptions are not available on chat topics"}

	// ErrTooManyLevels: more than MaxLevels below u/ or g/.
	ErrTooManyLevels = &Refusal{"too_many_levels", "the topic filter has too many levels"}

	// ErrNotAllowed: the topics of other people, and what only the server
	// publishes.
	ErrNotAllowed = &Refusal{"not_allowed", "this topic is not yours"}

	// ErrUnknownTopic: outside of the platform's topics.
	ErrUnknownTopic = &Refusal{"unknown_topic", "there is no such topic"}
)

var (
	errServerOnly = &Refusal{"not_allowed", "only the server publishes on this topic"}
	errBadName    = &Refusal{"unknown_topic", "the topic does not name a valid user or group"}
	errNothing    = &Refusal{"unknown_topic", "nothing is ever delivered on this topic"}
)

// CheckPublish tells whether user me may publish on a parsed topic at all: nil,
// or a *Refusal. Membership, blocks and whether the user or group exists are not
// its business.
func CheckPublish[S string | []byte](t Topic[S], me string) error {
	switch t.Kind {
	case User, Group, UserTyping, GroupTyping, UserRead, GroupRead, RPC:
		return nil
	case Presence:
		if string(t.Name) != me {
			return ErrNotAllowed
		}
		return nil
	case Receipts, Events, Sent, UserRPC:
		return errServerOnly
	default:
		return ErrUnknownTopic
	}
}

// ValidResponseTopic tells whether user me may name topic as the response topic
// of a request: one below u/{me}/rpc/.
func ValidResponseTopic[S string | []byte](topic S, me string) bool {
	t := Parse(topic)
	return t.Kind == UserRPC && string(t.Name) == me
}
