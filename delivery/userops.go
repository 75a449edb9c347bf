package delivery

import (
	"context"
	"time"

	"tidings/chat"
	"tidings/hooks"
	"tidings/topics"
)

// maxTitle bounds display names and group titles, in bytes.
const maxTitle = 256

// NewUser is an account to be made.
type NewUser struct {
	Name  string
	Title string
	chat.Credentials
}

// AddUsers makes accounts. The answer has an entry for each: nil where it was
// made. The error is of the whole call.
func (e *Engine) AddUsers(ctx context.Context, list []NewUser) ([]*Refusal, error) {
	out := make([]*Refusal, len(list))
	var users []chat.User
	var at []int
	for i, n := range list {
		if !topics.ValidName(n.Name) {
			out[i] = refuseName
			continue
		}
		users = append(users, chat.User{Name: n.Name, Title: n.Title, Credentials: n.Credentials, Created: time.Now()})
		at = append(at, i)
	}
	ids, err := e.store.AddUsers(ctx, users)
	if err != nil {
		return nil, err
	}
	for i, id := range ids {
		if id == 0 {
			out[at[i]] = refuseExists
		}
	}
	return out, nil
}

// UserChange is what UpdateUser changes; nil fields stay as they are.
type UserChange struct {
	Title        *string
	Presence     *chat.Audience
	Writers      *chat.Audience
	Adders       *chat.Audience
	ReadReceipts *bool
}

// UpdateUser changes a user's own settings. When it returns they are in force.
func (e *Engine) UpdateUser(ctx context.Context, u chat.UserID, c UserChange) (chat.User, error) {
	for _, a := range []*chat.Audience{c.Presence, c.Writers, c.Adders} {
		if a != nil && !a.Valid() {
			return chat.User{}, malformed("an audience is everyone, shared or nobody")
		}
	}
	if c.Title != nil && len(*c.Title) > maxTitle {
		return chat.User{}, malformed("the name is longer than 256 bytes")
	}
	return e.changeUser(ctx, u, func(u *chat.User) error {
		set(&u.Title, c.Title)
		set(&u.Presence, c.Presence)
		set(&u.Writers, c.Writers)
		set(&u.Adders, c.Adders)
		if c.ReadReceipts != nil {
			u.NoReadReceipts = !*c.ReadReceipts
		}
		return nil
	})
}

func set[T any](v *T, to *T) {
	if to != nil {
		*v = *to
	}
}

// changeUser stores a change of an account and waits until the engine acts on it.
func (e *Engine) changeUser(ctx context.Context, id chat.UserID, change func(*chat.User) error) (chat.User, error) {
	u, err := e.store.UpdateUser(ctx, id, change)
	if err != nil {
		return chat.User{}, err
	}
	return u, e.userChanged(ctx, id)
}

// userChanged makes the engine look at a user anew, and waits until it does.
func (e *Engine) userChanged(ctx context.Context, id chat.UserID) error {
	e.accounts.forget(id)
	select {
	case <-e.committer.ledger.forgetUser(id):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// userNamed finds a user that is not removed.
func (e *Engine) userNamed(ctx context.Context, name string) (*account, error) {
	us, err := e.accounts.named(ctx, []string{name})
	if err != nil {
		return nil, err
	}
	if us[0] == nil || us[0].Removed {
		return nil, notFound(name)
	}
	return us[0], nil
}

// SetDisabled disables or enables an account. Sessions of a disabled user end at
// once.
func (e *Engine) SetDisabled(ctx context.Context, name string, disabled bool) error {
	return e.administer(ctx, name, disabled, func(u *chat.User) { u.Disabled = disabled }, func(u chat.UserID) { e.open.userShut(u, disabled) })
}

// RemoveUser ends an account; its name stays reserved.
func (e *Engine) RemoveUser(ctx context.Context, name string) error {
	return e.administer(ctx, name, true, func(u *chat.User) { u.Removed, u.Credentials = true, chat.Credentials{} },
		func(u chat.UserID) { e.open.userRemoved(ctx, u) })
}

// SetPassword stores what is kept of a new password; the zero Credentials mean
// that there is none.
func (e *Engine) SetPassword(ctx context.Context, name string, c chat.Credentials) error {
	return e.administer(ctx, name, false, func(u *chat.User) { u.Credentials = c }, func(chat.UserID) {})
}

// administer changes an account. end ends its sessions; behind is done when the
// change is stored.
func (e *Engine) administer(ctx context.Context, name string, end bool, change func(*chat.User), behind func(chat.UserID)) error {
	u, err := e.userNamed(ctx, name)
	if err != nil {
		return err
	}
	_, err = e.changeUser(ctx, u.ID, func(u *chat.User) error {
		change(u)
		return nil
	})
	if err != nil {
		return err
	}
	if end {
		e.directory.revoked()
	}
	behind(u.ID)
	if !end {
		return nil
	}
	for _, s := range e.directory.of(u.ID) {
		s.bar()
	}
	return nil
}

// bar ends a session whose user or device was shut out: what it has published and
// is not decided yet is refused.
func (s *Session) bar() {
	s.barred.Store(true)
	s.link.Close(ReasonNotAuthorized)
}

// ListUsers returns up to limit accounts in order of name, from the first above
// after, without their credentials.
func (e *Engine) ListUsers(ctx context.Context, after string, limit int) ([]chat.User, error) {
	us, err := e.store.ListUsers(ctx, after, limit)
	for i := range us {
		set := us[i].Password != ""
		us[i].Credentials = chat.Credentials{}
		if set {
			us[i].Password = "set"
		}
	}
	return us, err
}

// ListGroups returns up to limit groups in order of name, from the first above
// after.
func (e *Engine) ListGroups(ctx context.Context, after string, limit int) ([]chat.Group, error) {
	return e.store.ListGroups(ctx, after, limit)
}

// Profile is what one user may know of another.
type Profile struct {
	User     string
	Title    string
	Presence chat.PresenceState // "" where it is not to be seen
	LastSeen int64              // Unix milliseconds, zero if unknown or not to be seen

	// Of one's own profile only.
	Settings *chat.User
}

// GetUser describes a user to another.
func (e *Engine) GetUser(ctx context.Context, by chat.UserID, name string) (Profile, error) {
	u, err := e.userNamed(ctx, name)
	if err != nil {
		return Profile{}, err
	}
	p := Profile{User: u.Name, Title: u.Title}
	if u.ID == by {
		own := u.User
		p.Settings = &own
	}
	ok, err := e.presence.visible(ctx, u, by)
	if err != nil || !ok {
		return p, err
	}
	p.Presence = e.presence.now(u.ID)
	if p.Presence == chat.PresenceOffline {
		p.LastSeen, err = e.presence.seen(ctx, u.ID)
	}
	return p, err
}

// SetBlock makes or ends the actor's block of a user. When it returns it is in
// force.
func (e *Engine) SetBlock(ctx context.Context, a hooks.Actor, name string, blocked bool) error {
	u, err := e.userNamed(ctx, name)
	if err != nil {
		return err
	}
	if u.ID == a.User {
		return malformed("you cannot block yourself")
	}
	if err := e.store.SetBlock(ctx, a.User, u.ID, blocked); err != nil {
		return err
	}
	return e.userChanged(ctx, a.User)
}

// Blocks returns the names of whom a user has blocked.
func (e *Engine) Blocks(ctx context.Context, u chat.UserID) ([]string, error) {
	ids, err := e.store.Blocks(ctx, u)
	if err != nil {
		return nil, err
	}
	us, err := e.accounts.withIDs(ctx, ids)
	if err != nil {
		return nil, err
	}
	list := []string{}
	for _, u := range us {
		if u != nil {
			list = append(list, u.Name)
		}
	}
	return list, nil
}
