package delivery

import (
	"context"
	"slices"

	"tidings/chat"
	"tidings/hooks"
	"tidings/storage"
)

// MembersResult tells what became of the users that a call named.
type MembersResult struct {
	Added   []string // are members now
	Invited []string // do not let themselves be added; they may join
	Seq     uint64   // of the entry in the group's log; zero: nothing changed
}

// invitees is who a call names, sorted by whether they let themselves be added.
type invitees struct{ add, invite []*account }

func (e *Engine) invitees(ctx context.Context, by chat.UserID, list []string) (invitees, error) {
	var out invitees
	us, err := e.people(ctx, list)
	if err != nil {
		return out, err
	}
	for _, u := range us {
		if u.ID == by {
			continue
		}
		if !u.active() {
			return out, notFound(u.Name)
		}
		ok, err := e.audienceAllows(ctx, u.Adders, u.ID, by)
		if err != nil {
			return out, err
		}
		if ok && !u.hasBlocked(by) {
			out.add = append(out.add, u)
		} else {
			out.invite = append(out.invite, u)
		}
	}
	return out, nil
}

// people looks up named users, each once.
func (e *Engine) people(ctx context.Context, list []string) ([]*account, error) {
	if len(list) > MaxNames {
		return nil, refuseTooMany
	}
	list = slices.Compact(slices.Sorted(slices.Values(list)))
	us, err := e.accounts.named(ctx, list)
	if err != nil {
		return nil, err
	}
	for i, u := range us {
		if u == nil {
			return nil, notFound(list[i])
		}
	}
	return us, nil
}

func (p *invitees) joining(history bool) []storage.MemberChange {
	var out []storage.MemberChange
	for _, u := range p.add {
		out = append(out, storage.MemberChange{User: u.ID, Role: chat.RoleMember, History: history})
	}
	return out
}

func (p *invitees) addedNames() []string { return namesOf(p.add) }

func (p *invitees) invitedIDs() []chat.UserID {
	var out []chat.UserID
	for _, u := range p.invite {
		out = append(out, u.ID)
	}
	return out
}

func namesOf(us []*account) []string {
	var out []string
	for _, u := range us {
		out = append(out, u.Name)
	}
	return out
}

// done tells those concerned, and returns the result of the call.
func (p *invitees) done(e *Engine, by hooks.Actor, group string, seq uint64) MembersResult {
	for _, u := range p.add {
		e.event(u.ID, 0, eventGroupAdded, map[string]any{"group": group, "by": by.UserName})
	}
	for _, u := range p.invite {
		e.event(u.ID, 0, eventGroupInvited, map[string]any{"group": group, "by": by.UserName})
	}
	return MembersResult{Added: p.addedNames(), Invited: namesOf(p.invite), Seq: seq}
}

// AddMembers adds users to a group, or invites them. The actor is an owner or
// admin.
func (e *Engine) AddMembers(ctx context.Context, a hooks.Actor, name string, members []string) (MembersResult, error) {
	var none MembersResult
	g, err := e.group(ctx, name)
	if err != nil {
		return none, err
	}
	people, err := e.invitees(ctx, a.User, members)
	if err != nil {
		return none, err
	}
	all := people.add
	r, err := e.append(ctx, a, chat.GroupChat(g.ID), func(c *ledgerChat) (*entry, *Refusal) {
		if refusal := c.atLeast(a.User, chat.RoleAdmin); refusal != nil {
			return nil, refusal
		}
		people.add = slices.DeleteFunc(slices.Clone(all), func(u *account) bool { return c.members[u.ID] != chat.RoleNone })
		people.invite = slices.DeleteFunc(people.invite, func(u *account) bool { return c.members[u.ID] != chat.RoleNone })
		if len(people.add) == 0 {
			return nil, nil
		}
		return memberEntry(chat.TypeSysAdd, people.addedNames(), people.joining(c.group.History)), nil
	})
	if err != nil {
		return none, err
	}
	if err := e.invite(ctx, g, people.invitedIDs()); err != nil {
		return none, err
	}
	if err := e.uninvite(ctx, g.ID, people.add...); err != nil {
		return none, err
	}
	return people.done(e, a, name, r.Seq), nil
}

// invite notes open invitations.
func (e *Engine) invite(ctx context.Context, g *group, users []chat.UserID) error {
	if len(users) == 0 {
		return nil
	}
	_, err := e.store.UpdateGroup(ctx, g.ID, func(g *chat.Group) error {
		g.Invited = slices.Compact(slices.Sorted(slices.Values(append(g.Invited, users...))))
		if len(g.Invited) > maxInvited {
			return &Refusal{Code: CodeQuota, Message: "this group has too many open invitations"}
		}
		return nil
	})
	e.groups.forget(g.ID)
	return err
}

// JoinGroup makes an invited user a member.
func (e *Engine) JoinGroup(ctx context.Context, a hooks.Actor, name string) (MembersResult, error) {
	var none MembersResult
	g, err := e.group(ctx, name)
	if err != nil {
		return none, refuseNotInvited
	}
	if !slices.Contains(g.Invited, a.User) {
		return none, refuseNotInvited
	}
	changes := []storage.MemberChange{{User: a.User, Role: chat.RoleMember, History: g.History}}
	r, err := e.append(ctx, a, chat.GroupChat(g.ID), func(c *ledgerChat) (*entry, *Refusal) {
		if c.members[a.User] != chat.RoleNone {
			return nil, nil
		}
		return memberEntry(chat.TypeSysAdd, []string{a.UserName}, changes), nil
	})
	if err != nil {
		return none, err
	}
	err = e.uninvite(ctx, g.ID, &account{User: chat.User{ID: a.User}})
	return MembersResult{Added: []string{a.UserName}, Seq: r.Seq}, err
}

// uninvite ends open invitations: of those who have become members, so that they
// cannot come back by them once they are removed, and of those who are removed.
func (e *Engine) uninvite(ctx context.Context, id chat.GroupID, users ...*account) error {
	gs, err := e.groups.withIDs(ctx, []chat.GroupID{id})
	if err != nil || gs[0] == nil {
		return err
	}
	invited := func(u chat.UserID) bool {
		return slices.ContainsFunc(users, func(a *account) bool { return a.ID == u })
	}
	if !slices.ContainsFunc(gs[0].Invited, invited) {
		return nil
	}
	_, err = e.store.UpdateGroup(ctx, id, func(g *chat.Group) error {
		g.Invited = slices.DeleteFunc(slices.Clone(g.Invited), invited)
		return nil
	})
	e.groups.forget(id)
	return err
}
