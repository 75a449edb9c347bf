package delivery

import (
	"context"

	"tidings/chat"
	"tidings/hooks"
	"tidings/storage"
)

// RemoveMembers removes members from a group. The actor is an owner, or an admin
// who removes plain members; one who leaves by himself uses LeaveGroup.
func (e *Engine) RemoveMembers(ctx context.Context, a hooks.Actor, name string, members []string) (PostResult, error) {
	g, err := e.group(ctx, name)
	if err != nil {
		return PostResult{}, err
	}
	us, err := e.people(ctx, members)
	if err != nil {
		return PostResult{}, err
	}
	var gone []*account
	r, err := e.append(ctx, a, chat.GroupChat(g.ID), func(c *ledgerChat) (*entry, *Refusal) {
		if refusal := c.atLeast(a.User, chat.RoleAdmin); refusal != nil {
			return nil, refusal
		}
		gone = gone[:0]
		var changes []storage.MemberChange
		for _, u := range us {
			role := c.members[u.ID]
			if role == chat.RoleNone {
				continue
			}
			if u.ID == a.User || role >= c.members[a.User] && c.members[a.User] != chat.RoleOwner {
				return nil, refuseForbidden
			}
			gone = append(gone, u)
			changes = append(changes, storage.MemberChange{User: u.ID, Role: chat.RoleNone})
		}
		if len(gone) == 0 {
			return nil, nil
		}
		return memberEntry(chat.TypeSysRemove, namesOf(gone), changes), nil
	})
	if err != nil {
		return PostResult{}, err
	}
	if err := e.uninvite(ctx, g.ID, us...); err != nil {
		return PostResult{}, err
	}
	for _, u := range gone {
		e.event(u.ID, 0, eventGroupRemoved, map[string]any{"group": name, "by": a.UserName})
	}
	return r, nil
}

// LeaveGroup ends the actor's own membership.
func (e *Engine) LeaveGroup(ctx context.Context, a hooks.Actor, name string) (PostResult, error) {
	g, err := e.group(ctx, name)
	if err != nil {
		return PostResult{}, err
	}
	changes := []storage.MemberChange{{User: a.User, Role: chat.RoleNone}}
	return e.append(ctx, a, chat.GroupChat(g.ID), func(c *ledgerChat) (*entry, *Refusal) {
		if refusal := c.atLeast(a.User, chat.RoleMember); refusal != nil {
			return nil, refusal
		}
		if c.lastOwner(a.User) && len(c.members) > 1 {
			return nil, refuseLastOwner
		}
		return memberEntry(chat.TypeSysLeave, []string{a.UserName}, changes), nil
	})
}
