package api

import (
	"context"

	"tidings/chat"
	"tidings/delivery"
)

// The parameters and results of user.… and block.…
type (
	userName struct {
		User string `json:"user" required:"true" doc:"Name of the user."`
	}
	userUpdate struct {
		Name         *string        `json:"name" doc:"Name for people, up to 256 bytes."`
		Presence     *chat.Audience `json:"presence" doc:"Who sees presence and last seen: everyone, shared (people in a shared chat) or nobody."`
		Writers      *chat.Audience `json:"writers" doc:"Who may write to the user: everyone, shared or nobody."`
		Adders       *chat.Audience `json:"adders" doc:"Who may add the user to groups, others can only invite: everyone, shared or nobody."`
		ReadReceipts *bool          `json:"read_receipts" doc:"Whether the user sends and gets read receipts."`
	}
	blockList struct {
		After string `json:"after" doc:"Names that come after this one; left out: from the first."`
		Limit int    `json:"limit" doc:"Names in the answer, 100 by default, at most 1,000."`
	}

	profile struct {
		User     string    `json:"user" doc:"Name of the user."`
		Name     string    `json:"name,omitempty" doc:"Name for people."`
		Presence string    `json:"presence,omitempty" doc:"online, away, busy or offline; left out where the caller may not see it."`
		LastSeen int64     `json:"last_seen,omitempty" doc:"Unix milliseconds; left out while online, or where the caller may not see it."`
		Settings *settings `json:"settings,omitempty" doc:"Of the caller himself only."`
	}
	settings struct {
		Presence     chat.Audience `json:"presence" doc:"Who sees presence and last seen."`
		Writers      chat.Audience `json:"writers" doc:"Who may write to the user."`
		Adders       chat.Audience `json:"adders" doc:"Who may add the user to groups."`
		ReadReceipts bool          `json:"read_receipts" doc:"The user sends and gets read receipts."`
	}
	settingsResult struct {
		User     string   `json:"user" doc:"Name of the user."`
		Name     string   `json:"name,omitempty" doc:"Name for people."`
		Settings settings `json:"settings" doc:"What is in force now."`
	}
	blocksResult struct {
		Users []string `json:"users" doc:"A page of names, in order."`
		Next  string   `json:"next,omitempty" doc:"What to pass as after for the next page."`
	}
)

func accountOps(e *delivery.Engine) []Operation {
	block := func(blocked bool) func(context.Context, delivery.Identity, *userName) (nothing, error) {
		return func(ctx context.Context, who delivery.Identity, in *userName) (nothing, error) {
			return nothing{}, e.SetBlock(ctx, who.Actor, in.User, blocked)
		}
	}
	return []Operation{
		read("user.get", "Describes a user as the caller may see him.", func(ctx context.Context, who delivery.Identity, in *userName) (profile, error) {
			p, err := e.GetUser(ctx, who.Actor.User, in.User)
			out := profile{User: p.User, Name: p.Title, Presence: string(p.Presence), LastSeen: p.LastSeen}
			if p.Presence == chat.PresenceInvisible {
				out.Presence = string(chat.PresenceOffline)
			}
			if p.Settings != nil {
				s := settingsOf(p.Settings)
				out.Settings = &s
			}
			return out, err
		}),
		change("user.update", "Changes the caller's own settings; what is left out stays.",
			func(ctx context.Context, who delivery.Identity, in *userUpdate) (settingsResult, error) {
				u, err := e.UpdateUser(ctx, who.Actor.User, delivery.UserChange{
					Title: in.Name, Presence: in.Presence, Writers: in.Writers, Adders: in.Adders, ReadReceipts: in.ReadReceipts,
				})
				return settingsResult{User: u.Name, Name: u.Title, Settings: settingsOf(&u)}, err
			}),
		change("block.add", "Blocks a user: he cannot write to the caller nor add him to groups, and sees no receipts and no presence.", block(true)),
		change("block.remove", "Ends a block.", block(false)),
		read("block.list", "Lists whom the caller has blocked.", func(ctx context.Context, who delivery.Identity, in *blockList) (blocksResult, error) {
			names, err := e.Blocks(ctx, who.Actor.User)
			if err != nil {
				return blocksResult{}, err
			}
			part, next := page(names, func(s string) string { return s }, in.After, in.Limit)
			return blocksResult{Users: list(part), Next: next}, nil
		}),
	}
}

func settingsOf(u *chat.User) settings {
	audience := func(a chat.Audience) chat.Audience {
		if a == "" {
			return chat.AudienceEveryone
		}
		return a
	}
	return settings{audience(u.Presence), audience(u.Writers), audience(u.Adders), !u.NoReadReceipts}
}
