package delivery

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"tidings/chat"
	"tidings/hooks"
	"tidings/storage"
	"tidings/topics"
)

// Codes of refusals that operations add to those of publishes.
const (
	CodeNotFound         = "not_found"
	CodeExists           = "exists"            // the name is or was in use
	CodeNotMember        = "not_member"        // of that group
	CodeForbidden        = "forbidden"         // the role does not allow it
	CodeLastOwner        = "last_owner"        // a group with members needs an owner
	CodePasswordRequired = "password_required" // see RevokeDevice
)

// MaxNames is how many users one call may name.
const MaxNames = 1000

// maxInvited bounds the open invitations of a group.
const maxInvited = 1000

var (
	refuseNoGroup    = &Refusal{Code: CodeNotMember, Message: "you are not a member of such a group"}
	refuseForbidden  = &Refusal{Code: CodeForbidden, Message: "your role in this group does not allow that"}
	refuseLastOwner  = &Refusal{Code: CodeLastOwner, Message: "make another member owner first"}
	refuseTooMany    = &Refusal{Code: CodeQuota, Message: "at most 1000 names in one call"}
	refuseName       = &Refusal{Code: CodeMalformed, Message: "a name is 1 to 64 of a-z, 0-9, dot, underscore and hyphen, and begins with a letter or digit"}
	refuseExists     = &Refusal{Code: CodeExists, Message: "this name is or was in use"}
	refuseTitle      = malformed("the title is longer than 256 bytes")
	refuseRole       = &Refusal{Code: CodeMalformed, Message: "a role is owner, admin or member"}
	refuseNotInvited = &Refusal{Code: CodeNotAllowed, Message: "you have no invitation to such a group"}
)

// GroupSpec describes a group to be made.
type GroupSpec struct {
	Name      string
	Title     string
	Members   []string // besides the creator, who becomes the owner
	History   bool     // new members see what was before them
	Retention string   // "" for the server's default
}

// MembersResult tells what became of the users that a call named.
type MembersResult struct {
	Added   []string // are members now
	Invited []string // do not let themselves be added; they may join
	Seq     uint64   // of the entry in the group's log; zero: nothing changed
}

// CreateGroup makes a group owned by the actor. A group of that name which the
// same user has begun to make and which has no entries yet is taken up again.
func (e *Engine) CreateGroup(ctx context.Context, a hooks.Actor, spec GroupSpec) (MembersResult, error) {
	var none MembersResult
	if !topics.ValidName(spec.Name) {
		return none, refuseName
	}
	if len(spec.Title) > maxTitle {
		return none, refuseTitle
	}
	if spec.Retention != "" {
		if _, err := parseRetention(spec.Retention); err != nil {
			return none, malformed(err.Error())
		}
	}
	people, err := e.invitees(ctx, a.User, spec.Members)
	if err != nil {
		return none, err
	}
	id, err := e.store.AddGroup(ctx, chat.Group{
		Name: spec.Name, Title: spec.Title, Creator: a.User, Created: time.Now(), History: spec.History, Invited: people.invitedIDs(),
	})
	if err == nil && id == 0 {
		id, err = e.abandoned(ctx, a.User, spec.Name)
	}
	if err != nil {
		return none, err
	}
	if spec.Retention != "" {
		if err := e.store.SetRetention(ctx, chat.GroupChat(id), spec.Retention); err != nil {
			return none, err
		}
	}
	changes := append([]storage.MemberChange{{User: a.User, Role: chat.RoleOwner}}, people.joining(spec.History)...)
	body, err := json.Marshal(map[string]any{"title": spec.Title, "members": append([]string{a.UserName}, people.addedNames()...)})
	if err != nil {
		return none, err
	}
	r, err := e.append(ctx, a, chat.GroupChat(id), func(c *ledgerChat) (*entry, *Refusal) {
		if c.head > 0 {
			return nil, refuseExists
		}
		return &entry{typ: chat.TypeSysCreate, body: body, changes: changes}, nil
	})
	if err != nil {
		return none, err
	}
	return people.done(e, a, spec.Name, r.Seq), nil
}

// abandoned returns a group that its creator has begun to make.
func (e *Engine) abandoned(ctx context.Context, creator chat.UserID, name string) (chat.GroupID, error) {
	gs, err := e.store.GroupsByName(ctx, []string{name})
	if err != nil {
		return 0, err
	}
	if gs[0].Creator != creator || gs[0].Removed {
		return 0, refuseExists
	}
	infos, err := e.store.Chats(ctx, []chat.ID{chat.GroupChat(gs[0].ID)})
	if err != nil {
		return 0, err
	}
	if infos[0].Head > 0 {
		return 0, refuseExists
	}
	return gs[0].ID, nil
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

func notFound(name string) *Refusal {
	return &Refusal{Code: CodeNotFound, Message: "there is no user " + quoteName(name)}
}

// quoteName returns a name for a sentence, without what is not a name.
func quoteName(name string) string {
	if topics.ValidName(name) {
		return name
	}
	return "of that name"
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

// group finds a group by name for somebody who says he is its member.
func (e *Engine) group(ctx context.Context, name string) (*group, error) {
	gs, err := e.groups.named(ctx, []string{name})
	if err != nil {
		return nil, err
	}
	if gs[0] == nil || gs[0].Removed {
		return nil, refuseNoGroup
	}
	return gs[0], nil
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
	_, err = e.store.UpdateGroup(ctx, g.ID, func(g *chat.Group) error {
		g.Invited = slices.DeleteFunc(g.Invited, func(u chat.UserID) bool { return u == a.User })
		return nil
	})
	e.groups.forget(g.ID)
	return MembersResult{Added: []string{a.UserName}, Seq: r.Seq}, err
}

// atLeast returns nil if a member's role is that or more.
func (c *ledgerChat) atLeast(u chat.UserID, role chat.Role) *Refusal {
	switch has := c.members[u]; {
	case has == chat.RoleNone || c.group.Removed:
		return refuseNoGroup
	case has < role:
		return refuseForbidden
	}
	return nil
}

// memberEntry is the entry of a membership change.
func memberEntry(typ string, members []string, changes []storage.MemberChange) *entry {
	body, _ := json.Marshal(map[string]any{"members": members}) // strings always encode
	return &entry{typ: typ, body: body, changes: changes}
}

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

// GroupChange is what UpdateGroup changes; nil fields stay as they are.
type GroupChange struct {
	Title     *string `json:"title,omitempty"`
	History   *bool   `json:"history,omitempty"`
	Retention *string `json:"retention,omitempty"`
}

// UpdateGroup changes a group's settings. The actor is an owner or admin.
func (e *Engine) UpdateGroup(ctx context.Context, a hooks.Actor, name string, change GroupChange) (PostResult, error) {
	if change.Title != nil && len(*change.Title) > maxTitle {
		return PostResult{}, refuseTitle
	}
	if change.Retention != nil && *change.Retention != "" {
		if _, err := parseRetention(*change.Retention); err != nil {
			return PostResult{}, malformed(err.Error())
		}
	}
	g, err := e.group(ctx, name)
	if err != nil {
		return PostResult{}, err
	}
	body, err := json.Marshal(change)
	if err != nil {
		return PostResult{}, err
	}
	id := chat.GroupChat(g.ID)
	r, err := e.append(ctx, a, id, func(c *ledgerChat) (*entry, *Refusal) {
		if refusal := c.atLeast(a.User, chat.RoleAdmin); refusal != nil {
			return nil, refusal
		}
		return &entry{typ: chat.TypeSysUpdate, body: body}, nil
	})
	if err != nil {
		return PostResult{}, err
	}
	if change.Retention != nil {
		if err := e.store.SetRetention(ctx, id, *change.Retention); err != nil {
			return PostResult{}, err
		}
	}
	_, err = e.store.UpdateGroup(ctx, g.ID, func(g *chat.Group) error {
		if change.Title != nil {
			g.Title = *change.Title
		}
		if change.History != nil {
			g.History = *change.History
		}
		return nil
	})
	e.groups.forget(g.ID)
	<-e.committer.ledger.forgetChat(id)
	return r, err
}

// GroupInfo is what a member may know of a group.
type GroupInfo struct {
	Name, Title string
	Creator     string
	Created     time.Time
	History     bool
	Retention   string // of this group, "" for the server's default
	Role        string // of the asking member
	Members     []MemberInfo
	Count       int    // of all members
	Next        string // name to ask for the next page after, "" if this is the last
}

// MemberInfo is one member of a group.
type MemberInfo struct{ User, Role string }

// GetGroup describes a group to one of its members, with a page of its members in
// ascending order of name, from the first one above after.
func (e *Engine) GetGroup(ctx context.Context, u chat.UserID, name, after string, limit int) (GroupInfo, error) {
	g, err := e.group(ctx, name)
	if err != nil {
		return GroupInfo{}, err
	}
	info, err := e.describeGroup(ctx, g, after, limit)
	if err != nil {
		return GroupInfo{}, err
	}
	m, err := e.memberRow(ctx, chat.GroupChat(g.ID), u)
	if err != nil {
		return GroupInfo{}, err
	}
	if m.Role == chat.RoleNone {
		return GroupInfo{}, refuseNoGroup
	}
	info.Role = m.Role.String()
	return info, nil
}

// DescribeGroup is GetGroup for operators.
func (e *Engine) DescribeGroup(ctx context.Context, name, after string, limit int) (GroupInfo, error) {
	g, err := e.group(ctx, name)
	if err != nil {
		return GroupInfo{}, err
	}
	return e.describeGroup(ctx, g, after, limit)
}

func (e *Engine) describeGroup(ctx context.Context, g *group, after string, limit int) (GroupInfo, error) {
	id := chat.GroupChat(g.ID)
	infos, err := e.store.Chats(ctx, []chat.ID{id})
	if err != nil {
		return GroupInfo{}, err
	}
	rows, _, err := e.store.Members(ctx, id)
	if err != nil {
		return GroupInfo{}, err
	}
	rows = slices.DeleteFunc(rows, func(m chat.Member) bool { return m.Role == chat.RoleNone })
	ids := []chat.UserID{g.Creator}
	for _, m := range rows {
		ids = append(ids, m.User)
	}
	us, err := e.accounts.withIDs(ctx, ids)
	if err != nil {
		return GroupInfo{}, err
	}
	info := GroupInfo{
		Name: g.Name, Title: g.Title, Created: g.Created, History: g.History,
		Retention: infos[0].Retention, Count: len(rows),
	}
	if us[0] != nil {
		info.Creator = us[0].Name
	}
	for i, m := range rows {
		if u := us[i+1]; u != nil && u.Name > after {
			info.Members = append(info.Members, MemberInfo{u.Name, m.Role.String()})
		}
	}
	slices.SortFunc(info.Members, func(a, b MemberInfo) int { return strings.Compare(a.User, b.User) })
	if limit > 0 && len(info.Members) > limit {
		info.Members = info.Members[:limit]
		info.Next = info.Members[limit-1].User
	}
	return info, nil
}
