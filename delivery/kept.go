package delivery

import (
	"context"
	"encoding/json"

	"tidings/chat"
	"tidings/hooks"
)

// listedPage is how many sessions are read at once.
const listedPage = 500

// listed is the kept session of a device whose user has not been removed.
type listed struct {
	id       Identity
	state    state
	crashed  bool // it was open when the server ended
	disabled bool // its user is
}

// eachListed calls f with the kept sessions that are listed.
func (e *Engine) eachListed(ctx context.Context, f func(listed) error) error {
	var after chat.DeviceID
	for {
		page, err := e.store.ListSessions(ctx, after, listedPage)
		if err != nil || len(page) == 0 {
			return err
		}
		for i := range page {
			d := &page[i].Device
			after = d.ID
			us, err := e.accounts.withIDs(ctx, []chat.UserID{d.User})
			if err != nil {
				return err
			}
			if us[0] == nil || us[0].Removed {
				continue
			}
			l := listed{crashed: d.Node != "", disabled: us[0].Disabled}
			l.state, err = decodeState(page[i].State)
			if err != nil {
				e.log.Error("cannot read the kept state of a session", "err", err, "device", uint64(d.ID))
				continue
			}
			l.id.Open = us[0].Name == openUser
			l.id.Actor = hooks.Actor{User: d.User, UserName: us[0].Name, Device: d.ID, DeviceName: d.Name}
			if err := f(l); err != nil {
				return err
			}
		}
	}
}

// KeptSession is the kept session of an absent device for which the carrier has
// stored something.
type KeptSession struct {
	Identity Identity
	Carrier  json.RawMessage // as SaveCarrier stored it
	Until    int64           // when the session expires, Unix milliseconds; 0: never
	Crashed  bool            // it was open when the server ended
}

// Kept calls f with each such session. The carrier calls it once, before it lets
// anybody in.
func (e *Engine) Kept(ctx context.Context, f func(KeptSession)) error {
	return e.eachListed(ctx, func(l listed) error {
		if len(l.state.Carrier) > 0 && !l.disabled {
			f(KeptSession{Identity: l.id, Carrier: l.state.Carrier, Until: l.state.until(l.crashed, e.began), Crashed: l.crashed})
		}
		return nil
	})
}
