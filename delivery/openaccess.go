package delivery

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"tidings/chat"
	"tidings/storage"
	"tidings/topics"
)

// access is what the access rules let one device do now. A session and its
// subscriber share it, so that a change reaches publishing and receiving at once,
// also while the device is away.
type access struct{ now atomic.Pointer[topics.Access] }

func newAccess(a *topics.Access) *access {
	var x access
	x.now.Store(a)
	return &x
}

func (a *access) mayRead(topic []byte) bool { return a.now.Load().MayRead(topic) }

// accessOf works out what an identity may read and write on open topics.
func (o *openTopics) accessOf(ctx context.Context, id *Identity) (*topics.Access, error) {
	if id.Open {
		return nil, nil
	}
	roles, err := o.roles(ctx, id.Actor.User)
	if err != nil {
		return nil, err
	}
	return o.rules(id, roles), nil
}

func (o *openTopics) rules(id *Identity, roles map[string]string) *topics.Access {
	a := o.cfg.Rules.For(id.Actor.UserName, id.Actor.DeviceName, func(group string) string { return roles[group] })
	return &a
}

// roles returns what a user is in the groups that the rules mention.
func (o *openTopics) roles(ctx context.Context, u chat.UserID) (map[string]string, error) {
	if len(o.groups) == 0 {
		return nil, nil
	}
	gs, err := o.e.groups.named(ctx, o.groups)
	if err != nil {
		return nil, err
	}
	roles := make(map[string]string)
	for i, g := range gs {
		if g == nil || g.Removed {
			continue
		}
		m, err := o.e.memberRow(ctx, chat.GroupChat(g.ID), u)
		if err != nil {
			return nil, err
		}
		if m.Role != chat.RoleNone {
			roles[o.groups[i]] = m.Role.String()
		}
	}
	return roles, nil
}

// admit gives a session its access, for the memberships of the revision that it
// returns.
func (o *openTopics) admit(ctx context.Context, s *Session) (revision uint64, err error) {
	revision = o.memberships.Load()
	a, err := o.accessOf(ctx, &s.id)
	if err != nil {
		return 0, err
	}
	s.access.now.Store(a)
	return revision, nil
}

// readmit does so again until no membership has changed meanwhile. The session is
// in the directory by now: a later change finds it there.
func (o *openTopics) readmit(ctx context.Context, s *Session, revision uint64) error {
	for revision != o.memberships.Load() {
		var err error
		if revision, err = o.admit(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// membersChanged gives the devices of users whose membership of a group has
// changed the access that they have now. It runs on the router, before the change
// is answered, so that a revocation is in force by then.
func (o *openTopics) membersChanged(ctx context.Context, group string, changes []storage.MemberChange) {
	if len(changes) == 0 || !slices.Contains(o.groups, group) {
		return
	}
	o.memberships.Add(1)
	for _, ch := range changes {
		roles, ok := o.rolesAtLast(ctx, ch.User)
		if !ok {
			return
		}
		for _, s := range o.e.directory.of(ch.User) {
			if !s.id.Open {
				s.access.now.Store(o.rules(&s.id, roles))
			}
		}
		for _, sub := range o.ofUser(ch.User) {
			sub.access.now.Store(o.rules(&sub.id, roles))
		}
	}
}

// rolesAtLast waits for the store: going on with an access that has been revoked
// is not an option. It gives up with the engine only.
func (o *openTopics) rolesAtLast(ctx context.Context, u chat.UserID) (roles map[string]string, ok bool) {
	for {
		roles, err := o.roles(ctx, u)
		if err == nil || ctx.Err() != nil {
			return roles, err == nil
		}
		o.e.log.Error("cannot read the roles of a user; waiting", "err", err, "user", uint64(u))
		select {
		case <-ctx.Done():
		case <-time.After(pullRetry):
		}
	}
}

// ofUser returns the subscribers with persistent sessions of a user.
func (o *openTopics) ofUser(u chat.UserID) []*subscriber {
	var subs []*subscriber
	o.mu.RLock()
	defer o.mu.RUnlock()
	for _, sub := range o.devices {
		if sub.id.Actor.User == u {
			subs = append(subs, sub)
		}
	}
	return subs
}

// userShut keeps what is published from the subscribers of a disabled user, or no
// longer. What was put aside for them before stays.
func (o *openTopics) userShut(u chat.UserID, disabled bool) {
	for _, sub := range o.ofUser(u) {
		sub.shut.Store(disabled)
	}
}

// userRemoved ends the subscribers of a user, and what waits for them.
func (o *openTopics) userRemoved(ctx context.Context, u chat.UserID) {
	for _, sub := range o.forgetWhere(func(sub *subscriber) bool { return sub.id.Actor.User == u }) {
		o.purgeOf(ctx, sub)
	}
}
