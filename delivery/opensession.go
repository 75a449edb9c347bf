package delivery

import (
	"context"
	"errors"
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

var errEnded = errors.New("delivery: the session has ended")

// join makes the session a subscriber. What an earlier one of the device has left
// in the queue is not for it.
func (o *openTopics) join(ctx context.Context, s *Session) error {
	if s.open != nil {
		return nil
	}
	sub := &subscriber{id: s.id, access: s.access, durable: !s.temporary && !s.id.Guest}
	if sub.durable {
		if err := o.purge(ctx, &s.id); err != nil {
			return err
		}
	}
	sub.live.Store(s)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended { // leave would not see the subscriber any more
		return errEnded
	}
	s.open = sub
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
	s.mu.Unlock()
	if sub == nil {
		return
	}
	if s.barred.Load() {
		sub.shut.Store(true)
	}
	if sub.durable && !s.temporary && !how.Forget {
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
