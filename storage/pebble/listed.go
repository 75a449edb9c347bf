package pebble

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"tidings/chat"
	"tidings/storage"
)

// list puts a device's session on the list or takes it off. Most sessions are
// never on it, so what is right already costs a look and no write.
func (s *Store) list(b *pebble.Batch, id chat.DeviceID, listed bool) error {
	key := key1(nil, tagListed, uint64(id))
	is, err := s.get(key, func([]byte) error { return nil })
	switch {
	case err != nil || is == listed:
		return err
	case listed:
		return b.Set(key, nil, nil)
	default:
		return b.Delete(key, nil)
	}
}

// ListSessions implements storage.Devices.
func (s *Store) ListSessions(ctx context.Context, after chat.DeviceID, limit int) ([]storage.StoredSession, error) {
	var sessions []storage.StoredSession
	from := append(key1(nil, tagListed, uint64(after)), 0)
	err := s.scan([]byte{tagListed}, from, func(key, _ []byte) (bool, error) {
		if len(sessions) >= limit {
			return false, nil
		}
		if err := ctx.Err(); err != nil {
			return false, err
		}
		id, err := listedDevice(key)
		if err != nil {
			return false, err
		}
		stored, err := s.storedSession(id)
		if err == nil && !stored.Device.Revoked {
			sessions = append(sessions, stored)
		}
		return true, err
	})
	if err != nil {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	return sessions, nil
}

// listedDevice reads the key of a row on the list.
func listedDevice(key []byte) (chat.DeviceID, error) {
	if len(key) != 1+8 {
		return 0, keyError(key, "not the key of a listed session")
	}
	return chat.DeviceID(binary.BigEndian.Uint64(key[1:])), nil
}

// storedSession reads a device and its state of one moment.
func (s *Store) storedSession(id chat.DeviceID) (stored storage.StoredSession, err error) {
	defer s.record(uint64(id))()
	if stored.Device, err = s.device(id); err != nil {
		return stored, err
	}
	_, err = s.get(key1(nil, tagSession, uint64(id)), func(value []byte) error {
		stored.State = append([]byte{}, value...)
		return nil
	})
	return stored, err
}
