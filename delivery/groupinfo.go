package delivery

import (
	"context"
	"slices"
	"strings"
	"time"

	"tidings/chat"
)

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
