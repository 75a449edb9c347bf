package delivery

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"tidings/storage"
)

// ForgetCarrier ends what SaveCarrier has kept with the session of an absent
// device, if it is still that value. While the device is connected, or where it
// has been since, it does nothing. It is durable on return. It may block.
func (e *Engine) ForgetCarrier(ctx context.Context, id Identity, carrier []byte) error {
	d := id.Actor.Device
	if id.Guest || d == 0 {
		return nil
	}
	page, err := e.store.ListSessions(ctx, d-1, 1)
	if err != nil || len(page) == 0 || page[0].Device.ID != d || page[0].Device.Node != "" {
		return err
	}
	st, err := decodeState(page[0].State)
	if err != nil || !bytes.Equal(st.Carrier, carrier) {
		return err
	}
	st.Carrier = nil
	b, err := json.Marshal(st)
	if err != nil {
		return fmt.Errorf("encode session state: %w", err)
	}
	// A connect in between has raised the epoch, and this changes nothing then.
	return e.store.SaveSession(ctx, storage.SessionState{
		Device: d, Epoch: page[0].Device.Epoch, State: b, NowMS: time.Now().UnixMilli(), Durable: true,
		Listed: e.open.selectsAny(&id, st.Subs),
	})
}
