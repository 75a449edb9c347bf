package api

import (
	"context"

	"tidings/delivery"
)

// The parameters and results of group.…
type (
	groupCreate struct {
		Group     string   `json:"group" required:"true" doc:"Name of the new group, in the form of user names. It is never given out again."`
		Title     string   `json:"title" doc:"Title for people, up to 256 bytes."`
		Members   []string `json:"members" doc:"Users to add beside the caller, who becomes the owner; at most 1,000 a call."`
		History   bool     `json:"history" doc:"New members see what was before them."`
		Retention string   `json:"retention" doc:"forever, delivered, or a duration such as 30d; left out: the server's default."`
	}
	groupMembers struct {
		Group   string   `json:"group" required:"true" doc:"Name of the group."`
		Members []string `json:"members" required:"true" doc:"Names of users, at most 1,000 a call."`
	}
	groupRole struct {
		Group   string   `json:"group" required:"true" doc:"Name of the group."`
		Members []string `json:"members" required:"true" doc:"Names of members, at most 1,000 a call."`
		Role    string   `json:"role" required:"true" doc:"owner, admin or member."`
	}
	groupName struct {
		Group string `json:"group" required:"true" doc:"Name of the group."`
	}
	groupUpdate struct {
		Group     string  `json:"group" required:"true" doc:"Name of the group."`
		Title     *string `json:"title" doc:"New title; left out: stays."`
		History   *bool   `json:"history" doc:"Whether members that come from now on see what was before them; left out: stays."`
		Retention *string `json:"retention" doc:"New retention, \"\" for the server's default; left out: stays."`
	}
	groupGet struct {
		Group string `json:"group" required:"true" doc:"Name of the group."`
		After string `json:"after" doc:"Members whose names come after this one; left out: from the first."`
		Limit int    `json:"limit" doc:"Members in the answer, 100 by default, at most 1,000."`
	}

	membersResult struct {
		Added   []string `json:"added" doc:"Those who are members now."`
		Invited []string `json:"invited" doc:"Those who do not let themselves be added: they may join."`
		Seq     uint64   `json:"seq,omitempty" doc:"The entry in the group's log; left out if there is none."`
	}
	seqResult struct {
		Seq uint64 `json:"seq,omitempty" doc:"The entry in the group's log; left out if nothing changed."`
	}
	// GroupInfo is the result of group.get and group.show.
	GroupInfo struct {
		Group     string       `json:"group" doc:"Name."`
		Title     string       `json:"title" doc:"Title for people."`
		Creator   string       `json:"creator,omitempty" doc:"Who made it."`
		Created   int64        `json:"created" doc:"When, in Unix milliseconds."`
		History   bool         `json:"history" doc:"New members see what was before them."`
		Retention string       `json:"retention,omitempty" doc:"Of this group; left out: the server's default."`
		Role      string       `json:"role,omitempty" doc:"The caller's role."`
		Count     int          `json:"count" doc:"Number of members."`
		Members   []MemberInfo `json:"members" doc:"A page of the members, in order of name."`
		Next      string       `json:"next,omitempty" doc:"What to pass as after for the next page."`
	}
	// MemberInfo is one member of a group.
	MemberInfo struct {
		User string `json:"user" doc:"Name of the member."`
		Role string `json:"role" doc:"owner, admin or member."`
	}
)

func groupOps(e *delivery.Engine) []Operation {
	return []Operation{
		change("group.create", "Makes a group owned by the caller.", func(ctx context.Context, who delivery.Identity, in *groupCreate) (membersResult, error) {
			return members(e.CreateGroup(ctx, who.Actor, delivery.GroupSpec{
				Name: in.Group, Title: in.Title, Members: in.Members, History: in.History, Retention: in.Retention,
			}))
		}),
		change("group.add", "Adds users to a group, or invites those who do not let themselves be added. For owners and admins.",
			func(ctx context.Context, who delivery.Identity, in *groupMembers) (membersResult, error) {
				return members(e.AddMembers(ctx, who.Actor, in.Group, in.Members))
			}),
		change("group.remove", "Removes members from a group. For owners, and for admins as to plain members.",
			func(ctx context.Context, who delivery.Identity, in *groupMembers) (seqResult, error) {
				return seq(e.RemoveMembers(ctx, who.Actor, in.Group, in.Members))
			}),
		change("group.leave", "Ends the caller's membership.", func(ctx context.Context, who delivery.Identity, in *groupName) (seqResult, error) {
			return seq(e.LeaveGroup(ctx, who.Actor, in.Group))
		}),
		change("group.join", "Makes the caller a member of a group that he was invited to.",
			func(ctx context.Context, who delivery.Identity, in *groupName) (membersResult, error) {
				return members(e.JoinGroup(ctx, who.Actor, in.Group))
			}),
		change("group.role", "Gives members another role. For owners.", func(ctx context.Context, who delivery.Identity, in *groupRole) (seqResult, error) {
			return seq(e.SetRole(ctx, who.Actor, in.Group, in.Members, in.Role))
		}),
		change("group.update", "Changes a group's settings. For owners and admins.",
			func(ctx context.Context, who delivery.Identity, in *groupUpdate) (seqResult, error) {
				if in.Title == nil && in.History == nil && in.Retention == nil {
					return seqResult{}, malformed("one of title, history and retention is needed")
				}
				return seq(e.UpdateGroup(ctx, who.Actor, in.Group, delivery.GroupChange{Title: in.Title, History: in.History, Retention: in.Retention}))
			}),
		read("group.get", "Describes a group to one of its members.", func(ctx context.Context, who delivery.Identity, in *groupGet) (GroupInfo, error) {
			g, err := e.GetGroup(ctx, who.Actor.User, in.Group, in.After, pageSize(in.Limit))
			return group(&g), err
		}),
	}
}

func members(r delivery.MembersResult, err error) (membersResult, error) {
	return membersResult{Added: list(r.Added), Invited: list(r.Invited), Seq: r.Seq}, err
}

func seq(r delivery.PostResult, err error) (seqResult, error) { return seqResult{r.Seq}, err }

// list makes an absent list an empty one, which JSON tells apart.
func list[T any](l []T) []T {
	if l == nil {
		return []T{}
	}
	return l
}

func group(g *delivery.GroupInfo) GroupInfo {
	out := GroupInfo{
		Group: g.Name, Title: g.Title, Creator: g.Creator, Created: g.Created.UnixMilli(), History: g.History,
		Retention: g.Retention, Role: g.Role, Count: g.Count, Members: []MemberInfo{}, Next: g.Next,
	}
	for _, m := range g.Members {
		out.Members = append(out.Members, MemberInfo(m))
	}
	return out
}
