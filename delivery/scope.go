package delivery

import (
	"slices"

	"tidings/topics"
)

// Subscription is one topic filter of a session, with MQTT's options.
type Subscription struct {
	Filter            string `json:"f"`
	QoS               byte   `json:"q,omitempty"` // as requested; chats grant at most 1
	ID                uint32 `json:"i,omitempty"` // subscription identifier, zero: none
	NoLocal           bool   `json:"l,omitempty"` // open topics only
	RetainAsPublished bool   `json:"r,omitempty"` // open topics only
	RetainHandling    byte   `json:"-"`           // of retained messages and presence: 0 send, 1 only if the subscription is new, 2 do not
}

// Granted is the answer to one Subscription.
type Granted struct {
	QoS     byte     // the highest of its deliveries
	Refusal *Refusal // why it was not granted; nil: it was
}

// scope is what a session's subscriptions select of the server's streams. It is
// never changed, only replaced. A nil Want means: not selected.
type scope struct {
	direct, events, receipts, sent, typing *Want

	groups, groupTyping topicWants // by group name
	presence            topicWants // by user name; never for all
}

// topicWants is a stream of many names: what is wanted of all of them and what
// of single ones (which includes what is wanted of all).
type topicWants struct {
	all  *Want
	some map[string]*Want
}

func (t *topicWants) of(name string) *Want {
	if w, ok := t.some[name]; ok {
		return w
	}
	return t.all
}

// chats tells whether any stream of durable messages is selected.
func (sc *scope) chats() bool {
	return sc.direct != nil || sc.events != nil || sc.groups.all != nil || len(sc.groups.some) > 0
}

// newScope adds up subscriptions; each has been parsed before.
func newScope(subs []Subscription, parsed []topics.Filter) *scope {
	sc := &scope{}
	for i, f := range parsed {
		sub := &subs[i]
		sc.direct = merge(sc.direct, sub, f.Has(topics.User))
		sc.events = merge(sc.events, sub, f.Has(topics.Events))
		sc.receipts = merge(sc.receipts, sub, f.Has(topics.Receipts))
		sc.sent = merge(sc.sent, sub, f.Has(topics.Sent))
		sc.typing = merge(sc.typing, sub, f.Has(topics.UserTyping))
	}
	sc.groups = wantsByName(subs, parsed, topics.Group, func(f topics.Filter) string { return f.Group })
	sc.groupTyping = wantsByName(subs, parsed, topics.GroupTyping, func(f topics.Filter) string { return f.Group })
	sc.presence = wantsByName(subs, parsed, topics.Presence, func(f topics.Filter) string { return f.User })
	return sc
}

func wantsByName(subs []Subscription, parsed []topics.Filter, k topics.Kind, name func(topics.Filter) string) topicWants {
	var t topicWants
	for i, f := range parsed {
		if n := name(f); f.Has(k) && n == "" {
			t.all = merge(t.all, &subs[i], true)
		} else if f.Has(k) && t.some[n] == nil {
			if t.some == nil {
				t.some = make(map[string]*Want)
			}
			t.some[n] = &Want{}
		}
	}
	for n := range t.some {
		for i, f := range parsed {
			if f.Has(k) && (name(f) == "" || name(f) == n) {
				t.some[n] = merge(t.some[n], &subs[i], true)
			}
		}
	}
	return t
}

// merge adds one more matching subscription to a want: one delivery, highest
// granted QoS, every identifier [MQTT-3.3.4-2, MQTT-3.3.4-3].
func merge(w *Want, sub *Subscription, selected bool) *Want {
	if !selected {
		return w
	}
	out := &Want{QoS: min(sub.QoS, 1)}
	if w != nil {
		out.QoS = max(out.QoS, w.QoS)
		out.IDs = slices.Clone(w.IDs)
	}
	if sub.ID != 0 {
		out.IDs = append(out.IDs, sub.ID)
	}
	return out
}
