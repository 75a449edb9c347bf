package delivery

import (
	"context"
	"encoding/json"
	"time"

	"tidings/chat"
	"tidings/hooks"
	"tidings/storage"
	"tidings/topics"
)

// GroupSpec describes a group to be made.
type GroupSpec struct {
	Name      string
	Title     string
	Members   []string // besides the creator, who becomes the owner
	History   bool     // new members see what was before them
	Retention string   // "" for the server's default
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
