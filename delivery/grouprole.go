package delivery

import (
	"context"
	"encoding/json"

	"tidings/chat"
	"tidings/hooks"
	"tidings/storage"
)

// lastOwner tells whether u is the only owner.
func (c *ledgerChat) lastOwner(u chat.UserID) bool {
	if c.members[u] != chat.RoleOwner {
		return false
	}
	for other, role := range c.members {
		if role == chat.RoleOwner && other != u {
			return false
		}
	}
	return true
}

// SetRole changes the role of members. The actor is an owner.
func (e *Engine) SetRole(ctx context.Context, a hooks.Actor, name string, members []string, roleName string) (PostResult, error) {
	role, ok := chat.ParseRole(roleName)
	if !ok {
		return PostResult{}, refuseRole
	}
	g, err := e.group(ctx, name)
	if err != nil {
		return PostResult{}, err
	}
	us, err := e.people(ctx, members)
	if err != nil {
		return PostResult{}, err
	}
	return e.append(ctx, a, chat.GroupChat(g.ID), func(c *ledgerChat) (*entry, *Refusal) {
		if refusal := c.atLeast(a.User, chat.RoleOwner); refusal != nil {
			return nil, refusal
		}
		var changes []storage.MemberChange
		var changed []string
		for _, u := range us {
			switch c.members[u.ID] {
			case chat.RoleNone:
				return nil, &Refusal{Code: CodeNotMember, Message: u.Name + " is not a member of this group"}
			case role:
				continue
			}
			changes = append(changes, storage.MemberChange{User: u.ID, Role: role})
			changed = append(changed, u.Name)
		}
		if len(changes) == 0 {
			return nil, nil
		}
		if !c.keepsOwner(changes) {
			return nil, refuseLastOwner
		}
		body, _ := json.Marshal(map[string]any{"members": changed, "role": role.String()}) // strings always encode
		return &entry{typ: chat.TypeSysRole, body: body, changes: changes}, nil
	})
}

// keepsOwner tells whether the group has an owner after these changes.
func (c *ledgerChat) keepsOwner(changes []storage.MemberChange) bool {
	after := make(map[chat.UserID]chat.Role, len(changes))
	for _, ch := range changes {
		if ch.Role == chat.RoleOwner {
			return true
		}
		after[ch.User] = ch.Role
	}
	for u, role := range c.members {
		if _, changed := after[u]; role == chat.RoleOwner && !changed {
			return true
		}
	}
	return false
}
