package pebble

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"tidings/chat"
	"tidings/storage"
)

// AddDevices implements storage.Devices.
func (s *Store) AddDevices(ctx context.Context, devices []chat.Device) ([]chat.DeviceID, error) {
	s.accounts.Lock()
	defer s.accounts.Unlock()
	b := s.db.NewBatch()
	names := names{s, make(map[string]bool, len(devices))}
	ids := make([]chat.DeviceID, len(devices))
	last := s.ids.device
	for i := range devices {
		d := devices[i]
		key := devNameKey(nil, d.User, d.Name)
		ok, err := names.free(key)
		if err == nil && ok {
			last++
			d.ID, d.Epoch, ids[i] = chat.DeviceID(last), 0, chat.DeviceID(last)
			err = errors.Join(
				b.Set(key, be(nil, last), nil),
				b.Set(key2(nil, tagDevOf, uint64(d.User), last), nil, nil),
				setDevice(b, &d),
			)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("add devices: %w", err), b.Close())
		}
	}
	if err := s.commitIDs(ctx, b, tagDevice, &s.ids.device, last); err != nil {
		return nil, fmt.Errorf("add devices: %w", err)
	}
	return ids, nil
}

func setDevice(b *pebble.Batch, d *chat.Device) error {
	return b.Set(key1(nil, tagDevice, uint64(d.ID)), appendDevice(nil, d), nil)
}

// Device implements storage.Devices.
func (s *Store) Device(ctx context.Context, id chat.DeviceID) (chat.Device, error) {
	if err := ctx.Err(); err != nil {
		return chat.Device{}, err
	}
	return s.device(id)
}

func (s *Store) device(id chat.DeviceID) (d chat.Device, err error) {
	key := key1(nil, tagDevice, uint64(id))
	ok, err := s.get(key, func(value []byte) error { return decodeDevice(key, value, &d) })
	if err != nil || !ok {
		return chat.Device{}, missing(err, "device", uint64(id))
	}
	return d, nil
}

// DeviceByName implements storage.Devices.
func (s *Store) DeviceByName(ctx context.Context, user chat.UserID, name string) (chat.Device, error) {
	if err := ctx.Err(); err != nil {
		return chat.Device{}, err
	}
	id, err := s.getNumber(devNameKey(nil, user, name))
	if err != nil {
		return chat.Device{}, fmt.Errorf("device by name: %w", err)
	}
	if id == 0 {
		return chat.Device{}, fmt.Errorf("device %q of user %d: %w", name, user, storage.ErrNotFound)
	}
	return s.device(chat.DeviceID(id))
}

// DevicesOf implements storage.Devices.
func (s *Store) DevicesOf(ctx context.Context, user chat.UserID) ([]chat.Device, error) {
	ids, err := s.listIDs(ctx, tagDevOf, uint64(user))
	if err != nil {
		return nil, fmt.Errorf("devices of user %d: %w", user, err)
	}
	devices := make([]chat.Device, len(ids))
	for i, id := range ids {
		if devices[i], err = s.device(chat.DeviceID(id)); err != nil {
			return nil, err
		}
	}
	return devices, nil
}

// UpdateDevice implements storage.Devices.
func (s *Store) UpdateDevice(
	ctx context.Context, id chat.DeviceID, change func(*chat.Device) error,
) (chat.Device, error) {
	defer s.record(uint64(id))()
	old, err := s.device(id)
	if err != nil {
		return chat.Device{}, err
	}
	d := old
	if err := change(&d); err != nil {
		return chat.Device{}, err
	}
	d.ID, d.User, d.Name, d.Created, d.Epoch, d.Node = old.ID, old.User, old.Name, old.Created, old.Epoch, old.Node
	b := s.db.NewBatch()
	if err := setDevice(b, &d); err != nil {
		return chat.Device{}, errors.Join(err, b.Close())
	}
	if err := s.apply(ctx, b, adding, pebble.Sync); err != nil {
		return chat.Device{}, fmt.Errorf("update device %d: %w", id, err)
	}
	return d, nil
}
