package auth

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"hash/maphash"
	"net/netip"
	"strings"

	"tidings/chat"
	"tidings/hooks"
)

// Authenticate implements hooks.Authenticator. A login without a password is
// hooks.ErrNotMine. It waits for the accounts and, for a password that is not
// remembered, for argon2id.
func (a *Authenticator) Authenticate(ctx context.Context, l *hooks.Login) (hooks.Grant, error) {
	if l.Password == nil {
		return hooks.Grant{}, hooks.ErrNotMine
	}
	g, err := a.authenticate(ctx, l)
	return g, a.counted(err)
}

// counted counts a login that ends with err, which it returns.
func (a *Authenticator) counted(err error) error {
	switch {
	case errors.Is(err, hooks.ErrBadCredentials):
		a.counts.refused.Add(1)
	case errors.Is(err, hooks.ErrUnavailable):
		a.counts.unavailable.Add(1)
	}
	return err
}

func (a *Authenticator) authenticate(ctx context.Context, l *hooks.Login) (hooks.Grant, error) {
	// Neither can be right for anybody, so that saying so at once tells nothing.
	if len(l.Password) == 0 || len(l.Password) > MaxPassword {
		return hooks.Grant{}, hooks.ErrBadCredentials
	}
	name := userName(l.User)
	u, err := a.user(ctx, name)
	if err != nil {
		return hooks.Grant{}, err
	}
	if isToken(l.Password) {
		return a.byToken(ctx, u, l)
	}
	return a.byPassword(ctx, u, name, l)
}

// userName removes what the AWS CRT clients append to every user name.
func userName(name string) string {
	name, _, _ = strings.Cut(name, "?SDK=")
	return name
}

// user returns the account, the zero User if there is none that may enter.
func (a *Authenticator) user(ctx context.Context, name string) (chat.User, error) {
	us, err := a.accounts.UsersByName(ctx, []string{name})
	if err != nil {
		return chat.User{}, unavailable("read the user", err)
	}
	if len(us) != 1 || us[0].Disabled || us[0].Removed {
		return chat.User{}, nil
	}
	return us[0], nil
}

// byToken admits by a device's token. The reads are the same for every user,
// also one that does not exist and has id zero.
func (a *Authenticator) byToken(ctx context.Context, u chat.User, l *hooks.Login) (hooks.Grant, error) {
	var ds []chat.Device
	if l.Client == "" {
		all, err := a.accounts.DevicesOf(ctx, u.ID)
		if err != nil {
			return hooks.Grant{}, unavailable("read the devices", err)
		}
		ds = all
	} else {
		d, found, err := a.device(ctx, u.ID, l.Client)
		if err != nil {
			return hooks.Grant{}, err
		}
		if found {
			ds = []chat.Device{d}
		}
	}
	sum := hashToken(l.Password)
	for i := range ds {
		d := &ds[i]
		if subtle.ConstantTimeCompare(d.Token, sum[:]) == 1 && !d.Revoked && u.ID != 0 {
			a.counts.tokens.Add(1)
			return hooks.Grant{User: u.ID, Device: d.Name, ID: d.ID}, nil
		}
	}
	return hooks.Grant{}, hooks.ErrBadCredentials
}

// byPassword admits by the user's password, to a device of that name that exists
// and is not revoked, to a new one, or as a guest.
func (a *Authenticator) byPassword(ctx context.Context, u chat.User, name string, l *hooks.Login) (hooks.Grant, error) {
	g, revoked, err := a.grantByWord(ctx, u.ID, l.Client)
	if err != nil {
		return hooks.Grant{}, err
	}
	if err := a.checkPassword(ctx, u, name, l); err != nil {
		return hooks.Grant{}, err
	}
	if revoked {
		return hooks.Grant{}, hooks.ErrBadCredentials
	}
	return g, nil
}

// grantByWord is what who knows the password is granted, unless the device is
// revoked.
func (a *Authenticator) grantByWord(ctx context.Context, u chat.UserID, client string) (g hooks.Grant, revoked bool, err error) {
	g = hooks.Grant{User: u, Device: client, ByWord: true, Guest: client == ""}
	if g.Guest {
		return g, false, nil
	}
	d, found, err := a.device(ctx, u, client)
	if err != nil {
		return hooks.Grant{}, false, err
	}
	if found {
		g.ID, revoked = d.ID, d.Revoked
	}
	return g, revoked, nil
}

// checkPassword returns nil if the password is the one of u.
func (a *Authenticator) checkPassword(ctx context.Context, u chat.User, name string, l *hooks.Login) error {
	who := guess{network(l.Remote.Addr()), maphash.String(a.seed, name)}
	if done, err := a.withoutWork(u, l.Password, who); done {
		return err
	}
	if err := a.gate.enter(ctx); err != nil {
		a.counts.busy.Add(1)
		return err
	}
	defer a.gate.leave()
	// Others may have shown the same password while this login waited, or have
	// guessed: after a restart all devices of a user come at once.
	if done, err := a.withoutWork(u, l.Password, who); done {
		return err
	}
	h, err := parsePHC(u.Password)
	if err != nil {
		h = a.nobody
	}
	if !h.matches(l.Password) {
		a.failed(who)
		return hooks.ErrBadCredentials
	}
	a.verified.add(u.ID, u.Password, l.Password)
	a.users.succeeded(who)
	a.counts.passwords.Add(1)
	return nil
}

// withoutWork decides what needs no computation: passwords that are remembered
// and who has guessed too often.
func (a *Authenticator) withoutWork(u chat.User, password []byte, who guess) (done bool, err error) {
	if u.ID != 0 && a.verified.has(u.ID, u.Password, password) {
		a.counts.remembered.Add(1)
		return true, nil
	}
	if a.throttled(who) {
		return true, hooks.ErrBusy
	}
	return false, nil
}

// throttled tells, and counts, that somebody has guessed too often.
func (a *Authenticator) throttled(who guess) bool {
	if a.users.blocked(who) || a.addresses.blocked(who.from) {
		a.counts.throttled.Add(1)
		return true
	}
	return false
}

// failed notes a wrong guess.
func (a *Authenticator) failed(who guess) {
	a.users.failed(who)
	if who.from.IsValid() {
		a.addresses.failed(who.from)
	}
}

// network is what counts as one address: an IPv4 address, or the 64 bits of an
// IPv6 address that a customer has at least. Of an unknown address it is the zero
// Prefix.
func network(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	p, err := addr.Prefix(min(64, addr.BitLen()))
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// device returns the user's device of that name, and whether there is one.
func (a *Authenticator) device(ctx context.Context, u chat.UserID, name string) (d chat.Device, found bool, err error) {
	d, err = a.accounts.DeviceByName(ctx, u, name)
	if errors.Is(err, a.notFound) {
		return chat.Device{}, false, nil
	}
	if err != nil {
		return chat.Device{}, false, unavailable("read the device", err)
	}
	return d, true, nil
}

func unavailable(doing string, err error) error {
	return fmt.Errorf("%w: %s: %w", hooks.ErrUnavailable, doing, err)
}
