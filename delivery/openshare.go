package delivery

import "slices"

// share is a shared subscription: each message goes to one of its members.
type share struct {
	members []shareMember // in the order in which they have come
	next    int           // whose turn it is; guarded by openTopics.mu held for writing, or the committer
}

type shareMember struct {
	s *subscriber
	w openWant
}

// joinLocked makes a subscriber a member of the shared subscription to filter; rest is
// filter without $share and the name.
func (o *openTopics) joinLocked(filter, rest string, sub *subscriber, w openWant) {
	sh := o.shares[filter]
	if sh == nil {
		sh = &share{}
		o.shares[filter] = sh
		o.shared.Set(rest, sh, struct{}{})
	}
	if i := sh.index(sub); i >= 0 {
		sh.members[i].w = w
		return
	}
	sh.members = append(sh.members, shareMember{sub, w})
}

func (sh *share) index(sub *subscriber) int {
	return slices.IndexFunc(sh.members, func(m shareMember) bool { return m.s == sub })
}

// choose returns the member whose turn it is: one that is connected, or else one
// that has a queue.
func (sh *share) choose(qos byte, may func(*subscriber) bool) *shareMember {
	var absent *shareMember
	n := len(sh.members)
	for i := range n {
		m := &sh.members[(sh.next+i)%n]
		switch {
		case !may(m.s):
		case m.s.live.Load() != nil:
			sh.next = (sh.next + i + 1) % n
			return m
		case absent == nil && m.s.durable && min(qos, m.w.qos) > 0:
			absent = m
		}
	}
	if n > 0 {
		sh.next = (sh.next + 1) % n
	}
	return absent
}
