package pebble

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"tidings/chat"
	"tidings/storage"
)

// OpenSession implements storage.Devices. Its write is not synced: the log is one
// sequence, so whatever is appended later and synced makes it durable, too. If a
// power loss takes it back, nothing that the session stored is left either, and
// the epoch may be given out again.
func (s *Store) OpenSession(
	ctx context.Context, id chat.DeviceID, node string, nowMS int64,
) (d chat.Device, state []byte, openBefore string, err error) {
	defer s.record(uint64(id))()
	if d, err = s.device(id); err != nil {
		return chat.Device{}, nil, "", err
	}
	if _, err = s.get(key1(nil, tagSession, uint64(id)), func(value []byte) error {
		state = append([]byte{}, value...)
		return nil
	}); err != nil {
		return chat.Device{}, nil, "", err
	}
	openBefore = d.Node
	d.Epoch++
	d.Node, d.Seen = node, nowMS
	b := s.db.NewBatch()
	if err = setDevice(b, &d); err != nil {
		return chat.Device{}, nil, "", errors.Join(err, b.Close())
	}
	if err = s.apply(ctx, b, moving, pebble.NoSync); err != nil {
		return chat.Device{}, nil, "", fmt.Errorf("open session of device %d: %w", id, err)
	}
	return d, state, openBefore, nil
}

// SaveSession implements storage.Devices.
func (s *Store) SaveSession(ctx context.Context, st storage.SessionState) error {
	defer s.record(uint64(st.Device))()
	d, err := s.device(st.Device)
	if err != nil {
		return err
	}
	if st.Epoch < d.Epoch {
		return nil
	}
	b := s.db.NewBatch()
	if st.State != nil {
		err = errors.Join(
			b.Set(key1(nil, tagSession, uint64(st.Device)), st.State, nil),
			s.list(b, st.Device, st.Listed),
		)
	}
	if st.Closed && err == nil {
		d.Node, d.Seen = "", st.NowMS
		err = setDevice(b, &d)
	}
	if err != nil {
		return errors.Join(err, b.Close())
	}
	sync := pebble.NoSync
	if st.Durable {
		sync = pebble.Sync
	}
	if err := s.apply(ctx, b, moving, sync); err != nil {
		return fmt.Errorf("save session of device %d: %w", st.Device, err)
	}
	return nil
}
