package delivery

import (
	"context"
	"encoding/json"

	"tidings/chat"
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
