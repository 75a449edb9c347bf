package delivery

import (
	"context"
	"encoding/json"

	"tidings/chat"
	"tidings/hooks"
)

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
