package delivery

import (
	"context"
	"slices"
	"time"

	"tidings/chat"
	"tidings/topics"
)

// checkOpen decides about a filter of open topics.
func (s *Session) checkOpen(filter string) *Refusal {
	_, rest, shared := topics.ParseShared(filter)
	switch {
	case !topics.ValidFilter(filter): // [MQTT-4.7.1-1]
		return topicRefusal(topics.ErrMalformedFilter)
	case topics.IsShared(filter) && !shared: // [MQTT-4.8.2-1, MQTT-4.8.2-2]
		return topicRefusal(topics.ErrMalformedShare)
	case !s.e.open.selects(&s.id, filter):
		return refuseNotYours
	}
	if err := s.e.plugins.AuthorizeSubscribe(&s.id.Actor, filter); err != nil {
		return pluginRefusal(err)
	}
	if shared {
		filter = rest
	}
	if !s.access.now.Load().MaySubscribe(filter) {
		return refuseNotYours
	}
	return nil
}

// selectsAny tells whether one of the filters is one of open topics.
func (o *openTopics) selectsAny(id *Identity, subs []Subscription) bool {
	return slices.ContainsFunc(subs, func(n Subscription) bool { return o.selects(id, n.Filter) })
}

// Expect lets the subscriptions to open topics among subs hold from now on. The
// carrier calls it when it reads SUBSCRIBE and before it reads on, so that what
// others publish behind it is delivered, as far as the network tells what is
// behind; Subscribe, with the same subs, completes them or takes them back. It
// never blocks.
func (s *Session) Expect(subs []Subscription) {
	var opened []Subscription
	var fresh []bool
	s.mu.Lock()
	all := s.subs
	s.mu.Unlock()
	for _, n := range subs {
		if !s.e.open.selects(&s.id, n.Filter) || s.checkOpen(n.Filter) != nil || len(all)+len(opened) >= s.e.cfg.Subscriptions {
			continue
		}
		opened = append(opened, n)
		fresh = append(fresh, !slices.ContainsFunc(all, func(o Subscription) bool { return o.Filter == n.Filter }))
	}
	if len(opened) > 0 {
		s.begin(opened, fresh)
	}
}

// begin puts subscriptions into the index.
func (s *Session) begin(subs []Subscription, fresh []bool) {
	s.mu.Lock()
	if s.ended { // leave would not see the subscriber any more
		s.mu.Unlock()
		return
	}
	if s.open == nil {
		s.open = &subscriber{id: s.id, access: s.access, durable: !s.temporary && !s.id.Guest, fresh: true}
		s.open.live.Store(s)
	}
	sub := s.open
	s.mu.Unlock()
	jobs := s.e.open.set(sub, subs, fresh)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = s.e.open.merge(s.asked, jobs)
	if s.expected == nil {
		s.expected = make(map[string]bool)
	}
	for i, n := range subs {
		s.expected[n.Filter] = fresh[i]
	}
}

// unexpected returns those of the subscriptions to open topics that Expect has not
// begun.
func (s *Session) unexpected(subs []Subscription, fresh []bool) (rest []Subscription, new []bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, n := range subs {
		if _, begun := s.expected[n.Filter]; !begun {
			rest, new = append(rest, n), append(new, fresh[i])
		}
	}
	return rest, new
}

// settleExpected ends what Expect has begun: it takes back the new subscriptions
// that were not granted.
func (s *Session) settleExpected(granted func(filter string) bool) {
	s.mu.Lock()
	var back []string
	for f, fresh := range s.expected {
		if fresh && !granted(f) {
			back = append(back, f)
		}
	}
	s.expected = nil
	sub := s.open
	s.mu.Unlock()
	if sub != nil && len(back) > 0 {
		s.e.open.unset(sub, back)
	}
}

// clear gives up what an earlier session of the device has left in the queue of a
// new subscriber.
func (o *openTopics) clear(ctx context.Context, sub *subscriber) error {
	if sub == nil || !sub.durable || !sub.fresh || sub.cleared.Load() {
		return nil
	}
	left, _, err := o.e.queueEnds(ctx, &sub.id)
	if err != nil {
		return err
	}
	if start := sub.start.Load(); start > 0 { // what came since is not of the earlier one
		left = min(left, start-1)
	}
	if err := o.giveUp(ctx, &sub.id, left); err != nil {
		return err
	}
	sub.cleared.Store(true)
	return nil
}

// takeUp makes the session the live one of the subscriber that its device has from
// an earlier connection. There may be none although the session has subscriptions:
// its user was disabled when the server started, or the index has let it go just
// now; so the index is made to hold what the session has.
func (o *openTopics) takeUp(s *Session) {
	subs := o.among(&s.id, s.subs)
	queued := false
	for id := range s.chats {
		queued = queued || id.Kind() == chat.KindQueue
	}
	o.mu.Lock()
	sub := o.devices[s.device()]
	if sub == nil && len(subs) == 0 && !queued {
		o.mu.Unlock()
		return
	}
	if sub == nil {
		sub = &subscriber{id: s.id, durable: true, access: s.access}
		o.devices[s.device()] = sub
	}
	sub.until.Store(0) // it does not expire any more
	o.mu.Unlock()
	sub.access.now.Store(s.access.now.Load())
	s.access = sub.access
	s.mu.Lock()
	s.open = sub
	s.mu.Unlock()
	sub.live.Store(s)
	o.reset(sub, subs)
}

// leave ends the session's part in open topics. The subscriber of a persistent
// session stays, and its queue fills.
func (o *openTopics) leave(ctx context.Context, s *Session, how CloseHow) {
	s.mu.Lock()
	sub := s.open
	s.memory.drop(&o.waiting)
	s.mu.Unlock()
	if sub == nil {
		return
	}
	if s.barred.Load() {
		sub.shut.Store(true)
	}
	if sub.durable && !s.temporary && !how.Forget {
		o.keepAsked(ctx, s, sub)
		if how.KeepFor > 0 {
			sub.until.Store(time.Now().Add(how.KeepFor).UnixMilli())
		}
		sub.live.CompareAndSwap(s, nil)
		return
	}
	o.forget(sub)
	sub.live.CompareAndSwap(s, nil)
	if sub.durable {
		o.purgeOf(ctx, sub)
	}
}

// drop ends what an earlier session of a device has left: its subscriptions and
// what waits in its queue.
func (o *openTopics) drop(ctx context.Context, id *Identity) error {
	sub := o.of(id.Actor.Device)
	if sub == nil {
		return nil
	}
	o.forget(sub)
	return o.purge(ctx, id)
}
