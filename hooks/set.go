package hooks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"tidings/chat"
)

// Set is the plugins of one server, sorted once by what they implement. Its
// methods ask or tell each of them in the order in which they were given, and
// keep a panic of one from harming more than the thing that was asked: see the
// package documentation. It does not change after NewSet and is safe for
// concurrent use. A nil Set is one without plugins.
//
// Where no plugin implements an interface its method returns at once. Since the
// arguments end up in interface calls, a caller that makes them anew for each
// call should first ask the Has method of the same name, or keep them in a struct
// of its own: then nothing is allocated.
type Set struct {
	guards         []*guard
	authenticators []slot[Authenticator]
	exchangers     []slot[Exchanger]
	subscribers    []slot[Subscriber]
	publishers     []slot[Publisher]
	committed      []slot[Committed]
	delivered      []slot[Delivered]
	connected      []slot[Connected]
	disconnected   []slot[Disconnected]
}

// slot is one plugin in the role of one interface.
type slot[T any] struct {
	plugin T
	guard  *guard
}

var errPanicked = errors.New("plugin panicked")

// NewSet sorts the plugins. One that implements none of the interfaces of this
// package is an error, since it would silently do nothing. Panics are logged to
// log.
func NewSet(log *slog.Logger, plugins ...any) (*Set, error) {
	s := &Set{}
	var errs []error
	for _, p := range plugins {
		g := &guard{name: fmt.Sprintf("%T", p), log: log}
		s.guards = append(s.guards, g)
		found := false
		s.authenticators = sorted(s.authenticators, p, g, &found)
		s.exchangers = sorted(s.exchangers, p, g, &found)
		s.subscribers = sorted(s.subscribers, p, g, &found)
		s.publishers = sorted(s.publishers, p, g, &found)
		s.committed = sorted(s.committed, p, g, &found)
		s.delivered = sorted(s.delivered, p, g, &found)
		s.connected = sorted(s.connected, p, g, &found)
		s.disconnected = sorted(s.disconnected, p, g, &found)
		if !found {
			errs = append(errs, fmt.Errorf("%s is not a plugin: it has none of the plugin interfaces", g.name))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return s, nil
}

func sorted[T any](slots []slot[T], plugin any, g *guard, found *bool) []slot[T] {
	p, ok := plugin.(T)
	if !ok {
		return slots
	}
	*found = true
	return append(slots, slot[T]{p, g})
}

// HasPublisher tells whether BeforePublish asks anybody.
func (s *Set) HasPublisher() bool { return s != nil && len(s.publishers) > 0 }

// HasCommitted tells whether AfterCommit tells anybody.
func (s *Set) HasCommitted() bool { return s != nil && len(s.committed) > 0 }

// HasDelivered tells whether AfterDelivered tells anybody.
func (s *Set) HasDelivered() bool { return s != nil && len(s.delivered) > 0 }

// Authenticate asks the authenticators until one decides. The error is one of
// the outcomes in errors.go, maybe wrapped, and never ErrNotMine: a login that
// is nobody's is ErrBadCredentials. A plugin that panics, returns an error of its
// own making or grants to nobody makes the login ErrUnavailable: the credential
// may be good.
func (s *Set) Authenticate(ctx context.Context, l *Login) (Grant, error) {
	if s == nil {
		return Grant{}, ErrBadCredentials
	}
	for _, p := range s.authenticators {
		g, err := authenticate(ctx, p, l)
		switch {
		case errors.Is(err, ErrNotMine):
			continue
		case err == nil:
			return g, nil
		}
		return Grant{}, outcome(err)
	}
	return Grant{}, ErrBadCredentials
}

// AuthorizeSubscribe returns the first refusal of a subscriber, nil if none
// refuses.
func (s *Set) AuthorizeSubscribe(a *Actor, filter string) error {
	if s == nil {
		return nil
	}
	for _, p := range s.subscribers {
		if err := subscribe(p, a, filter); err != nil {
			return err
		}
	}
	return nil
}

// BeforePublish returns the first refusal of a publisher, nil if none refuses.
// It does not allocate.
func (s *Set) BeforePublish(a *Actor, pub *Publish) error {
	if !s.HasPublisher() {
		return nil
	}
	return s.beforePublish(a, pub)
}

func (s *Set) beforePublish(a *Actor, pub *Publish) error {
	for _, p := range s.publishers {
		if err := publish(p, a, pub); err != nil {
			return err
		}
	}
	return nil
}

// AfterCommit tells every Committed.
func (s *Set) AfterCommit(messages []*chat.Message) {
	if !s.HasCommitted() {
		return
	}
	for _, p := range s.committed {
		commit(p, messages)
	}
}

// AfterDelivered tells every Delivered.
func (s *Set) AfterDelivered(user chat.UserID, device chat.DeviceID, id chat.ID, seq uint64) {
	if !s.HasDelivered() {
		return
	}
	for _, p := range s.delivered {
		deliver(p, user, device, id, seq)
	}
}

// AfterConnect tells every Connected.
func (s *Set) AfterConnect(a *Actor) {
	if s == nil {
		return
	}
	for _, p := range s.connected {
		connect(p, a)
	}
}

// AfterDisconnect tells every Disconnected.
func (s *Set) AfterDisconnect(a *Actor, reason string) {
	if s == nil {
		return
	}
	for _, p := range s.disconnected {
		disconnect(p, a, reason)
	}
}

// Panics returns how often each plugin has panicked, by the name of its type.
func (s *Set) Panics() map[string]uint64 {
	counts := make(map[string]uint64)
	if s == nil {
		return counts
	}
	for _, g := range s.guards {
		counts[g.name] += g.panics.Load()
	}
	return counts
}
