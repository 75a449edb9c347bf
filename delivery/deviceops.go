package delivery

import (
	"context"
	"errors"
	"time"

	"tidings/chat"
	"tidings/storage"
	"tidings/topics"
)

var (
	refuseNoDevice = &Refusal{Code: CodeNotFound, Message: "this user has no such device"}
	refuseKeepWord = &Refusal{Code: CodePasswordRequired, Message: "this device came in by the password: give a new password, or keep_password to leave it as it is"}
)

// NewDevice is a device to be made with a token of its own.
type NewDevice struct {
	User  string
	Name  string
	Token []byte // SHA-256 of the token
}

// AddDevices makes devices that enter by token. The answer has an entry for each:
// nil where it was made. A device that exists and is not revoked gets the token.
func (e *Engine) AddDevices(ctx context.Context, list []NewDevice) ([]*Refusal, error) {
	out := make([]*Refusal, len(list))
	names := make([]string, len(list))
	for i, n := range list {
		names[i] = n.User
	}
	us, err := e.accounts.named(ctx, names)
	if err != nil {
		return nil, err
	}
	var devices []chat.Device
	var at []int
	for i, n := range list {
		switch {
		case us[i] == nil || us[i].Removed:
			out[i] = notFound(n.User)
		case !topics.ValidClient(n.Name):
			out[i] = errBadClient
		default:
			devices = append(devices, chat.Device{User: us[i].ID, Name: n.Name, Token: n.Token, Created: time.Now()})
			at = append(at, i)
		}
	}
	ids, err := e.store.AddDevices(ctx, devices)
	if err != nil {
		return nil, err
	}
	for i, id := range ids {
		if id == 0 {
			out[at[i]], err = e.giveToken(ctx, &devices[i])
		} else {
			err = e.deviceAdded(ctx, devices[i].User, id, devices[i].Name)
		}
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (e *Engine) giveToken(ctx context.Context, n *chat.Device) (*Refusal, error) {
	d, err := e.store.DeviceByName(ctx, n.User, n.Name)
	if err != nil {
		return nil, err
	}
	if d.Revoked {
		return &Refusal{Code: CodeExists, Message: "this device was revoked, which bars its name"}, nil
	}
	_, err = e.store.UpdateDevice(ctx, d.ID, func(d *chat.Device) error {
		d.Token = n.Token
		return nil
	})
	return nil, err
}

// DeviceInfo is one device with whether it is connected.
type DeviceInfo struct {
	chat.Device // without its token
	Online      bool
}

// DevicesOf lists a user's devices that are not revoked.
func (e *Engine) DevicesOf(ctx context.Context, u chat.UserID) ([]DeviceInfo, error) {
	ds, err := e.store.DevicesOf(ctx, u)
	if err != nil {
		return nil, err
	}
	var out []DeviceInfo
	for _, d := range ds {
		if !d.Revoked {
			d.Token = nil
			out = append(out, DeviceInfo{d, e.directory.device(d.ID) != nil})
		}
	}
	return out, nil
}

// UserID returns the id of a user, for operators.
func (e *Engine) UserID(ctx context.Context, name string) (chat.UserID, error) {
	u, err := e.userNamed(ctx, name)
	if err != nil {
		return 0, err
	}
	return u.ID, nil
}

// Revoke says how a device is to be revoked by its user.
type Revoke struct {
	Device       string
	KeepPassword bool             // the password may stay although the device knows it
	Password     chat.Credentials // of a new password; the zero value: there is none
}

// RevokeOwn revokes a device of the asking user. A device that has ever come in
// by password knows it, so the user has to change the password or say that he
// will not.
func (e *Engine) RevokeOwn(ctx context.Context, u chat.UserID, r Revoke) error {
	d, err := e.store.DeviceByName(ctx, u, r.Device)
	if errors.Is(err, storage.ErrNotFound) || err == nil && d.Revoked {
		return refuseNoDevice
	}
	if err != nil {
		return err
	}
	if d.ByWord && !r.KeepPassword && r.Password.Password == "" {
		return refuseKeepWord
	}
	if r.Password.Password != "" {
		if _, err := e.changeUser(ctx, u, func(u *chat.User) error {
			u.Credentials = r.Password
			return nil
		}); err != nil {
			return err
		}
	}
	return e.RevokeDevice(ctx, u, r.Device)
}

// RevokeDevice ends a device for ever: its token, inbox and live session, and
// bars its name.
func (e *Engine) RevokeDevice(ctx context.Context, u chat.UserID, name string) error {
	d, err := e.store.DeviceByName(ctx, u, name)
	if errors.Is(err, storage.ErrNotFound) {
		return refuseNoDevice
	}
	if err != nil {
		return err
	}
	_, err = e.store.UpdateDevice(ctx, d.ID, func(d *chat.Device) error {
		d.Revoked, d.Token, d.Inbox = true, nil, false
		return nil
	})
	if err != nil {
		return err
	}
	e.directory.revoked()
	if s := e.directory.device(d.ID); s != nil {
		s.bar()
	}
	if sub := e.open.of(d.ID); sub != nil {
		e.open.forget(sub)
		e.open.purgeOf(ctx, sub)
	}
	e.event(u, 0, eventDeviceRevoked, map[string]any{"device": name})
	return nil
}
