package delivery

import (
	"context"
	"errors"
	"slices"

	"tidings/chat"
	"tidings/storage"
	"tidings/topics"
)

var errTooManyFilters = &Refusal{Code: CodeQuota, Message: "this session has as many subscriptions as are allowed"}

// Subscribe adds or replaces subscriptions. The answer has one entry for each.
// When it returns, the device's inbox and start cursors are durable, so that
// SUBACK may be sent; the carrier then calls Feed. It may block. Calls for one
// session do not overlap.
func (s *Session) Subscribe(ctx context.Context, subs []Subscription) ([]Granted, error) {
	answers := make([]Granted, len(subs))
	s.mu.Lock()
	all := slices.Clone(s.subs)
	old := s.scope
	s.mu.Unlock()
	var show []string
	var opened, kept []Subscription
	var fresh []bool
	defer func() {
		s.settleExpected(func(filter string) bool {
			return slices.ContainsFunc(kept, func(n Subscription) bool { return n.Filter == filter })
		})
	}()
	granted := false
	for i, sub := range subs {
		f, refusal, err := s.check(ctx, sub)
		if err != nil {
			return nil, err
		}
		at := slices.IndexFunc(all, func(o Subscription) bool { return o.Filter == sub.Filter })
		if refusal == nil && at < 0 && len(all) >= s.e.cfg.Subscriptions {
			refusal = errTooManyFilters
		}
		if answers[i].Refusal = refusal; refusal != nil {
			continue
		}
		granted = true
		answers[i].QoS = min(sub.QoS, 1)
		if s.e.open.selects(&s.id, sub.Filter) {
			answers[i].QoS = sub.QoS
			opened, fresh = append(opened, sub), append(fresh, at < 0)
		}
		if f.Has(topics.Presence) && (sub.RetainHandling == 0 || sub.RetainHandling == 1 && at < 0) {
			show = append(show, f.User)
		}
		if at < 0 {
			all = append(all, sub)
		} else {
			all[at] = sub
		}
	}
	if !granted {
		return answers, nil
	}
	states, err := s.e.presence.states(ctx, s, show)
	if err != nil {
		return nil, err
	}
	scope := scopeOf(all, s.id.Actor.UserName)
	if scope.chats() && !s.id.Guest {
		switch err := s.ensureInbox(ctx); {
		case errors.Is(err, storage.ErrFull):
			return refuseRest(answers, refuseFull), nil
		case err != nil:
			return nil, err
		}
	}
	if rest, new := s.unexpected(opened, fresh); len(rest) > 0 {
		s.begin(rest, new)
	}
	switch err := s.e.open.clear(ctx, s.open); {
	case errors.Is(err, storage.ErrFull):
		return refuseRest(answers, refuseFull), nil
	case err != nil:
		return nil, err
	}
	if err := s.adopt(ctx, all, scope, widened(old, scope), states); err != nil {
		return nil, err
	}
	kept = opened
	return answers, nil
}

// refuseRest refuses what was granted until then.
func refuseRest(answers []Granted, with *Refusal) []Granted {
	for i := range answers {
		if answers[i].Refusal == nil {
			answers[i] = Granted{Refusal: with}
		}
	}
	return answers
}

// check decides about one filter.
func (s *Session) check(ctx context.Context, sub Subscription) (topics.Filter, *Refusal, error) {
	if s.id.Open || s.e.open.selects(&s.id, sub.Filter) {
		return topics.Filter{}, s.checkOpen(sub.Filter), nil
	}
	f, err := topics.ParseFilter(sub.Filter, s.id.Actor.UserName)
	if err != nil {
		return f, topicRefusal(err), nil
	}
	if err := s.e.plugins.AuthorizeSubscribe(&s.id.Actor, sub.Filter); err != nil {
		return f, pluginRefusal(err), nil
	}
	if f.Group == "" || !f.Has(topics.Group) && !f.Has(topics.GroupTyping) {
		return f, nil, nil
	}
	gs, err := s.e.groups.named(ctx, []string{f.Group})
	if err != nil {
		return f, nil, err
	}
	if gs[0] == nil || gs[0].Removed {
		return f, refuseNotYours, nil
	}
	m, err := s.e.memberRow(ctx, chat.GroupChat(gs[0].ID), s.user())
	if err != nil {
		return f, nil, err
	}
	if m.Role == chat.RoleNone {
		return f, refuseNotYours, nil
	}
	return f, nil, nil
}

// scopeOf adds up subscriptions that have been checked.
func scopeOf(subs []Subscription, me string) *scope {
	parsed := make([]topics.Filter, len(subs))
	for i, sub := range subs {
		parsed[i], _ = topics.ParseFilter(sub.Filter, me) // selects nothing if it is one of open topics
	}
	return newScope(subs, parsed)
}

// widened tells whether a new scope may select chats that the old one did not.
func widened(old, now *scope) bool {
	if old == nil {
		return now.chats()
	}
	if now.direct != nil && old.direct == nil || now.events != nil && old.events == nil || now.groups.all != nil && old.groups.all == nil {
		return true
	}
	for name := range now.groups.some {
		if old.groups.of(name) == nil {
			return true
		}
	}
	return false
}

// adopt makes a new set of subscriptions the session's own, durably if it is a
// persistent one.
func (s *Session) adopt(ctx context.Context, subs []Subscription, sc *scope, load bool, states []retained) error {
	s.mu.Lock()
	stored := s.stored && slices.EqualFunc(s.subs, subs, sameSubscription)
	s.subs, s.scope = subs, sc
	s.retained = append(s.retained, states...)
	if load {
		s.loading, s.load = true, true
	}
	if !s.ended {
		s.e.presence.watch(s, sc)
	}
	st := s.snapshotLocked(true)
	s.mu.Unlock()
	if s.temporary || s.id.Guest || stored {
		return nil
	}
	if err := s.keep(ctx, st, false, true); err != nil {
		return err
	}
	s.mu.Lock()
	s.stored = true
	s.mu.Unlock()
	return nil
}

// sameSubscription compares what is kept of subscriptions.
func sameSubscription(a, b Subscription) bool {
	a.RetainHandling, b.RetainHandling = 0, 0
	return a == b
}

// Feed begins the delivery of what the last Subscribe has granted. The carrier
// calls it after SUBACK has been written to the output. It does not block.
func (s *Session) Feed() {
	s.mu.Lock()
	states := s.retained
	s.retained = nil
	s.pump = s.e.open.merge(s.pump, s.asked)
	s.asked = nil
	s.started = true
	s.wakeLocked()
	s.mu.Unlock()
	for _, st := range states {
		s.whisper(func(sc *scope) *Want { return sc.presence.of(st.user) }, "u/"+st.user+"/presence", st.payload, true)
	}
	if len(states) > 0 {
		s.link.Flush()
	}
}

// Unsubscribe removes filters; the answer tells for each whether it was there. It
// may block.
func (s *Session) Unsubscribe(ctx context.Context, filters []string) ([]bool, error) {
	s.mu.Lock()
	all := slices.Clone(s.subs)
	s.mu.Unlock()
	there := make([]bool, len(filters))
	for i, f := range filters {
		at := slices.IndexFunc(all, func(o Subscription) bool { return o.Filter == f })
		if there[i] = at >= 0; there[i] {
			all = slices.Delete(all, at, at+1)
		}
	}
	if err := s.adopt(ctx, all, scopeOf(all, s.id.Actor.UserName), false, nil); err != nil {
		return nil, err
	}
	if s.open != nil {
		s.e.open.unset(s.open, filters)
	}
	return there, nil
}

// Subscriptions returns the present subscriptions.
func (s *Session) Subscriptions() []Subscription {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.subs)
}

// ensureInbox gives the device its inbox at its first chat subscription. A user's
// first device gets all since he joined; a later one starts behind what some
// device of the user has had already, also if that device is gone by now. Cursors are written before the mark, so
// that a crash in between begins again.
func (s *Session) ensureInbox(ctx context.Context) error {
	s.mu.Lock()
	has := s.inbox
	s.mu.Unlock()
	if has {
		return nil
	}
	if err := s.startBehind(ctx); err != nil {
		return err
	}
	_, err := s.e.store.UpdateDevice(ctx, s.device(), func(d *chat.Device) error {
		d.Inbox = true
		return nil
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.inbox = true
	s.mu.Unlock()
	return nil
}

// startBehind sets the start cursors of a device to its user's delivered
// watermarks.
func (s *Session) startBehind(ctx context.Context) error {
	return s.e.eachTail(ctx, s.user(), s.device(), func(tails []storage.Tail) error {
		var as []storage.Advance
		for _, t := range tails {
			if t.Delivered > t.Cursor {
				as = append(as, storage.Advance{Chat: t.Chat, User: s.user(), Device: s.device(), Cursor: t.Delivered})
			}
		}
		if len(as) == 0 {
			return nil
		}
		return s.e.store.Advance(ctx, as)
	})
}

// eachTail calls f with the pages of a user's inbox.
func (e *Engine) eachTail(ctx context.Context, u chat.UserID, d chat.DeviceID, f func([]storage.Tail) error) error {
	var after chat.ID
	for {
		tails, err := e.store.Inbox(ctx, u, d, after, loadPage)
		if err != nil || len(tails) == 0 {
			return err
		}
		if err := f(tails); err != nil {
			return err
		}
		if len(tails) < loadPage {
			return nil
		}
		after = tails[len(tails)-1].Chat
	}
}

// tail returns one chat of a user's inbox; unknown chats have no head.
func (e *Engine) tail(ctx context.Context, u chat.UserID, d chat.DeviceID, id chat.ID) (storage.Tail, error) {
	tails, err := e.store.Inbox(ctx, u, d, before(id), 1)
	if err != nil {
		return storage.Tail{}, err
	}
	if len(tails) == 0 || tails[0].Chat != id {
		return storage.Tail{Chat: id}, nil
	}
	return tails[0], nil
}

// before returns the id in front of id, so that a page after it begins with id.
func before(id chat.ID) chat.ID {
	if id.Lo > 0 {
		return chat.ID{Hi: id.Hi, Lo: id.Lo - 1}
	}
	return chat.ID{Hi: id.Hi - 1, Lo: ^uint64(0)}
}

// memberRow returns a user's row in a group; the zero Member if he never was one.
func (e *Engine) memberRow(ctx context.Context, id chat.ID, u chat.UserID) (chat.Member, error) {
	t, err := e.tail(ctx, u, 0, id)
	return t.Member, err
}
