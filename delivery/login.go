package delivery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"tidings/chat"
	"tidings/hooks"
	"tidings/storage"
	"tidings/topics"
)

// retireAfter is how long a password-enrolled device must be unseen before it
// gives way to a new one of a user who has as many as he may.
const retireAfter = 7 * 24 * time.Hour

var errBadClient = &Refusal{Code: CodeMalformed, Message: "the client identifier must be 1 to 128 printable ASCII bytes"}

var errTooManyDevices = &Refusal{Code: CodeQuota, Message: "this user has as many devices as are allowed; revoke one first"}

// Login asks the authenticators who a connection is, and finds or makes its
// device. It may block for as long as ctx allows; the carrier calls it off its
// read loops. Errors are those of package hooks, or a *Refusal.
func (e *Engine) Login(ctx context.Context, l *hooks.Login) (Identity, error) {
	revision := e.directory.revocations()
	g, err := e.plugins.Authenticate(ctx, l)
	if err != nil {
		return Identity{}, err
	}
	return e.admit(ctx, l, g, revision)
}

// admit finds or makes the device of a grant. revision is the directory's from
// before the grant was asked for: what has been revoked since is looked at by Open.
func (e *Engine) admit(ctx context.Context, l *hooks.Login, g hooks.Grant, revision uint64) (Identity, error) {
	us, err := e.accounts.withIDs(ctx, []chat.UserID{g.User})
	if err != nil {
		return Identity{}, fmt.Errorf("%w: %w", hooks.ErrUnavailable, err)
	}
	if !us[0].active() {
		return Identity{}, hooks.ErrBadCredentials
	}
	id := Identity{revision: revision, Guest: g.Guest}
	id.Actor = hooks.Actor{User: g.User, UserName: us[0].Name, Device: g.ID, DeviceName: g.Device, Remote: l.Remote}
	if g.Guest {
		id.Actor.Device = 0
		return id, nil
	}
	if !topics.ValidClient(g.Device) {
		return Identity{}, errBadClient
	}
	if g.ID == 0 || g.ByWord {
		if id.Actor.Device, err = e.enrol(ctx, &g); err != nil {
			return Identity{}, err
		}
	}
	return id, nil
}

// enrol finds a device by name, or makes it if it may be made.
func (e *Engine) enrol(ctx context.Context, g *hooks.Grant) (chat.DeviceID, error) {
	d, err := e.store.DeviceByName(ctx, g.User, g.Device)
	switch {
	case err == nil && d.Revoked:
		return 0, hooks.ErrBadCredentials
	case err == nil && g.ByWord && !d.ByWord:
		_, err = e.store.UpdateDevice(ctx, d.ID, func(d *chat.Device) error {
			d.ByWord = true
			return nil
		})
		return d.ID, unavailable(err)
	case err == nil:
		return d.ID, nil
	case !errors.Is(err, storage.ErrNotFound):
		return 0, unavailable(err)
	}
	if err := e.makeRoom(ctx, g.User); err != nil {
		return 0, err
	}
	ids, err := e.store.AddDevices(ctx, []chat.Device{{User: g.User, Name: g.Device, ByWord: g.ByWord, Created: time.Now()}})
	if err != nil {
		return 0, unavailable(err)
	}
	if ids[0] == 0 { // another connection of the same device was faster
		d, err := e.store.DeviceByName(ctx, g.User, g.Device)
		return d.ID, unavailable(err)
	}
	return ids[0], e.deviceAdded(ctx, g.User, ids[0], g.Device)
}

// deviceAdded tells a user's other devices of a new one.
func (e *Engine) deviceAdded(ctx context.Context, u chat.UserID, id chat.DeviceID, name string) error {
	ds, err := e.store.DevicesOf(ctx, u)
	if err != nil {
		return unavailable(err)
	}
	if slices.ContainsFunc(ds, func(d chat.Device) bool { return d.Inbox && d.ID != id }) {
		e.event(u, id, eventDeviceAdded, map[string]any{"device": name})
	}
	return nil
}

// makeRoom sees to it that a user may have one more device: over the limit the
// password-enrolled one that was unseen for longest is retired.
func (e *Engine) makeRoom(ctx context.Context, u chat.UserID) error {
	ds, err := e.store.DevicesOf(ctx, u)
	if err != nil {
		return unavailable(err)
	}
	count, oldest := 0, -1
	limit := time.Now().Add(-retireAfter).UnixMilli()
	for i, d := range ds {
		if d.Revoked {
			continue
		}
		count++
		if d.ByWord && d.Token == nil && d.Seen < limit && e.directory.device(d.ID) == nil &&
			(oldest < 0 || d.Seen < ds[oldest].Seen) {
			oldest = i
		}
	}
	switch {
	case count < e.cfg.DevicesPerUser:
		return nil
	case oldest < 0 || time.Since(ds[oldest].Created) < retireAfter:
		return errTooManyDevices
	}
	return e.RevokeDevice(ctx, u, ds[oldest].Name)
}

// unavailable marks an error of the store as one of a login.
func unavailable(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", hooks.ErrUnavailable, err)
}
