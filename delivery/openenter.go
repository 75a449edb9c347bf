package delivery

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"time"

	"tidings/chat"
	"tidings/hooks"
	"tidings/topics"
)

// openUser is the account in whose name the devices of the conformance listener
// are kept. The name is none that a user can have, so that it is nobody's, and
// nobody can log in as it.
const openUser = ".conformance"

// EnterOpen makes the identity of an anonymous client to which every topic is an
// open one, for the conformance listener: its device is found or made by the
// client identifier, which must not be empty and may be any text. It may block.
// Errors are those of Login.
func (e *Engine) EnterOpen(ctx context.Context, client string, remote netip.AddrPort) (Identity, error) {
	id := Identity{Open: true, revision: e.directory.revocations()}
	u, err := e.openAccount(ctx)
	if err != nil {
		return id, unavailable(err)
	}
	name := client
	if !topics.ValidClient(name) {
		sum := sha256.Sum256([]byte(client))
		name = "sha256:" + hex.EncodeToString(sum[:])
	}
	id.Actor = hooks.Actor{User: u, UserName: openUser, DeviceName: name, Remote: remote}
	if ids, err := e.store.AddDevices(ctx, []chat.Device{{User: u, Name: name, Created: time.Now()}}); err != nil {
		return id, unavailable(err)
	} else if ids[0] != 0 {
		id.Actor.Device = ids[0]
		return id, nil
	}
	d, err := e.store.DeviceByName(ctx, u, name)
	if err != nil {
		return id, unavailable(err)
	}
	if d.Revoked {
		return id, hooks.ErrBadCredentials
	}
	id.Actor.Device = d.ID
	return id, nil
}

// openAccount finds or makes the account of the conformance listener.
func (e *Engine) openAccount(ctx context.Context) (chat.UserID, error) {
	us, err := e.accounts.named(ctx, []string{openUser})
	if err != nil {
		return 0, err
	}
	if us[0] != nil {
		return us[0].ID, nil
	}
	if _, err := e.store.AddUsers(ctx, []chat.User{{Name: openUser, Created: time.Now()}}); err != nil {
		return 0, err
	}
	if us, err = e.accounts.named(ctx, []string{openUser}); err != nil {
		return 0, err
	}
	return us[0].ID, nil
}
