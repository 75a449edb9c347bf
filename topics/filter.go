package topics

import "strings"

// Filter is what a topic filter selects for one user. The zero Filter selects
// nothing. Filters are comparable.
type Filter struct {
	// Kinds are the streams selected: User for direct chats, UserTyping,
	// Receipts, Events, Sent, UserRPC, Presence, Group and GroupTyping.
	Kinds Kinds

	// Group is the one group that Group and GroupTyping are about, "" if they are
	// about all groups.
	Group string

	// Answers is a topic filter for the RID part of UserRPC topics: "#" for all
	// answers; see SelectsAnswer.
	Answers string

	// User is whose Presence is selected.
	User string
}

// Kinds is a set of topic kinds.
type Kinds uint16

// KindsOf returns the set of some kinds.
func KindsOf(ks ...Kind) Kinds {
	var set Kinds
	for _, k := range ks {
		set |= 1 << k
	}
	return set
}

// Has tells whether k is in the set.
func (s Kinds) Has(k Kind) bool { return s&(1<<k) != 0 }

// Has tells whether the filter selects the stream k, for at least one name.
func (f Filter) Has(k Kind) bool { return f.Kinds.Has(k) }

// SelectsGroup tells whether the filter selects the stream k, Group or
// GroupTyping, of this group.
func (f Filter) SelectsGroup(k Kind, group string) bool {
	return f.Kinds.Has(k) && (f.Group == "" || f.Group == group)
}

// SelectsAnswer tells whether the filter selects the user's topic u/{me}/rpc/{rid};
// rid may have several levels.
func (f Filter) SelectsAnswer(rid string) bool {
	return f.Kinds.Has(UserRPC) && matchLevels(f.Answers, rid)
}

// ParseFilter reads a topic filter that user me subscribes to. The error is a
// *Refusal: ErrMalformedFilter, ErrSharedSubscription, ErrNotAllowed (other
// people's topics, or wildcards that would cover them), ErrTooManyLevels or
// ErrUnknownTopic (no topic of the platform, or one that nothing is delivered on).
//
// Presence is selected by u/{user}/presence alone: no wildcard covers it. The
// parts of the Filter are parts of filter.
func ParseFilter(filter, me string) (Filter, error) {
	switch {
	case !ValidFilter(filter):
		return Filter{}, ErrMalformedFilter
	case strings.HasPrefix(filter, "$share/"):
		return Filter{}, ErrSharedSubscription
	case filter[0] == '#' || filter[0] == '+':
		return Filter{}, ErrNotAllowed
	case len(filter) < 2 || filter[1] != '/' || filter[0] != 'u' && filter[0] != 'g':
		return Filter{}, ErrUnknownTopic
	case levels(filter) > MaxLevels:
		return Filter{}, ErrTooManyLevels
	}
	name, sub := cut(filter[2:])
	bare := len(filter) == 2+len(name)
	if filter[0] == 'g' {
		return groupFilter(name, sub, bare)
	}
	return userFilter(name, sub, bare, me)
}

// groupFilter reads g/{name} or g/{name}/{sub}.
func groupFilter(name, sub string, bare bool) (Filter, error) {
	f := Filter{Group: name}
	switch {
	case name == "#": // includes the levels below each group
		return Filter{Kinds: KindsOf(Group, GroupTyping)}, nil
	case name == "+":
		f.Group = ""
	case !ValidName(name):
		return Filter{}, errBadName
	}
	if bare || sub == "#" {
		f.Kinds |= KindsOf(Group)
	}
	if !bare && matchLevels(sub, "typing") {
		f.Kinds |= KindsOf(GroupTyping)
	}
	if f.Kinds == 0 {
		return Filter{}, errNothing
	}
	return f, nil
}

// userFilter reads u/{name} or u/{name}/{sub}.
func userFilter(name, sub string, bare bool, me string) (Filter, error) {
	switch {
	case name == "#" || name == "+":
		return Filter{}, ErrNotAllowed
	case !ValidName(name):
		return Filter{}, errBadName
	case !bare && sub == "presence":
		return Filter{Kinds: KindsOf(Presence), User: name}, nil
	case name != me:
		return Filter{}, ErrNotAllowed
	}
	var f Filter
	if bare || sub == "#" {
		f.Kinds |= KindsOf(User)
	}
	if !bare {
		for _, k := range [...]Kind{UserTyping, Receipts, Events, Sent} {
			if matchLevels(sub, suffixes[k]) {
				f.Kinds |= KindsOf(k)
			}
		}
		if f.Answers = answers(sub); f.Answers != "" {
			f.Kinds |= KindsOf(UserRPC)
		}
	}
	if f.Kinds == 0 {
		return Filter{}, errNothing
	}
	return f, nil
}

// answers returns the part of sub, what follows u/{me}/, that speaks about the
// levels below rpc/, and "" if sub selects none of them.
func answers(sub string) string {
	first, rest := cut(sub)
	switch first {
	case "#":
		return "#"
	case "rpc", "+":
		return rest
	}
	return ""
}
