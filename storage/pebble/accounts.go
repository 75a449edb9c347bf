package pebble

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"tidings/chat"
	"tidings/storage"
)

// loadIDs reads the last ids given out.
func (s *Store) loadIDs() error {
	var err [3]error
	s.ids.user, err[0] = s.getNumber(counterKey(tagUser))
	s.ids.device, err[1] = s.getNumber(counterKey(tagDevice))
	s.ids.group, err[2] = s.getNumber(counterKey(tagGroup))
	return errors.Join(err[:]...)
}

// record is the lock of the record with that key tag and id.
func (s *Store) record(id uint64) func() {
	m := &s.records[id%uint64(len(s.records))]
	m.Lock()
	return m.Unlock
}

// names decides which of the names in one call are free.
type names struct {
	s     *Store
	taken map[string]bool // by earlier ones of the call
}

func (n *names) free(key []byte) (bool, error) {
	if n.taken[string(key)] {
		return false, nil
	}
	id, err := n.s.getNumber(key)
	if err != nil || id != 0 {
		return false, err
	}
	n.taken[string(key)] = true
	return true, nil
}

// AddUsers implements storage.Accounts. Ids are given out under one lock, and
// the counter is stored with the accounts.
func (s *Store) AddUsers(ctx context.Context, users []chat.User) ([]chat.UserID, error) {
	s.accounts.Lock()
	defer s.accounts.Unlock()
	b := s.db.NewBatch()
	names := names{s, make(map[string]bool, len(users))}
	ids := make([]chat.UserID, len(users))
	last := s.ids.user
	for i := range users {
		u := users[i]
		key := keyName(nil, tagUserName, u.Name)
		ok, err := names.free(key)
		if err == nil && ok {
			last++
			u.ID, ids[i] = chat.UserID(last), chat.UserID(last)
			err = errors.Join(b.Set(key, be(nil, last), nil), setUser(b, &u))
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("add users: %w", err), b.Close())
		}
	}
	if err := s.commitIDs(ctx, b, tagUser, &s.ids.user, last); err != nil {
		return nil, fmt.Errorf("add users: %w", err)
	}
	return ids, nil
}

// commitIDs stores a batch that gives out ids up to last; the caller holds
// accounts.
func (s *Store) commitIDs(ctx context.Context, b *pebble.Batch, kind byte, counter *uint64, last uint64) error {
	if last != *counter {
		if err := b.Set(counterKey(kind), be(nil, last), nil); err != nil {
			return errors.Join(err, b.Close())
		}
	}
	// Even if the outcome is unknown the ids are used up.
	*counter = last
	return s.apply(ctx, b, adding, pebble.Sync)
}

func setUser(b *pebble.Batch, u *chat.User) error {
	value, err := encodeUser(u)
	if err != nil {
		return err
	}
	return b.Set(key1(nil, tagUser, uint64(u.ID)), value, nil)
}

func (s *Store) user(id chat.UserID) (u chat.User, ok bool, err error) {
	key := key1(nil, tagUser, uint64(id))
	ok, err = s.get(key, func(value []byte) error { return decodeUser(key, value, &u) })
	return u, ok, err
}

// Users implements storage.Accounts.
func (s *Store) Users(ctx context.Context, ids []chat.UserID) ([]chat.User, error) {
	users := make([]chat.User, len(ids))
	for i, id := range ids {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		var err error
		if users[i], _, err = s.user(id); err != nil {
			return nil, fmt.Errorf("users: %w", err)
		}
	}
	return users, nil
}

// UsersByName implements storage.Accounts.
func (s *Store) UsersByName(ctx context.Context, names []string) ([]chat.User, error) {
	ids := make([]chat.UserID, len(names))
	for i, name := range names {
		id, err := s.getNumber(keyName(nil, tagUserName, name))
		if err != nil {
			return nil, fmt.Errorf("users by name: %w", err)
		}
		ids[i] = chat.UserID(id)
	}
	return s.Users(ctx, ids)
}

// UpdateUser implements storage.Accounts.
func (s *Store) UpdateUser(ctx context.Context, id chat.UserID, change func(*chat.User) error) (chat.User, error) {
	defer s.record(uint64(id))()
	old, ok, err := s.user(id)
	if err != nil || !ok {
		return chat.User{}, missing(err, "user", uint64(id))
	}
	u := old
	if err := change(&u); err != nil {
		return chat.User{}, err
	}
	u.ID, u.Name, u.Created = old.ID, old.Name, old.Created
	b := s.db.NewBatch()
	if err := setUser(b, &u); err != nil {
		return chat.User{}, errors.Join(err, b.Close())
	}
	if err := s.apply(ctx, b, adding, pebble.Sync); err != nil {
		return chat.User{}, fmt.Errorf("update user %d: %w", id, err)
	}
	return u, nil
}

// missing is err, or storage.ErrNotFound with what is missing.
func missing(err error, what string, id uint64) error {
	if err == nil {
		err = storage.ErrNotFound
	}
	return fmt.Errorf("%s %d: %w", what, id, err)
}

// ListUsers implements storage.Accounts.
func (s *Store) ListUsers(ctx context.Context, after string, limit int) ([]chat.User, error) {
	ids, err := s.listNames(tagUserName, after, limit)
	if err != nil {
		return nil, fmt.Errorf("list users: %w", err)
	}
	users := make([]chat.UserID, len(ids))
	for i, id := range ids {
		users[i] = chat.UserID(id)
	}
	return s.Users(ctx, users)
}

// listNames returns the ids of up to limit names above after.
func (s *Store) listNames(tag byte, after string, limit int) ([]uint64, error) {
	var ids []uint64
	from := append(keyName(nil, tag, after), 0)
	if after == "" {
		from = nil
	}
	err := s.scan([]byte{tag}, from, func(key, value []byte) (bool, error) {
		if len(ids) >= limit {
			return false, nil
		}
		id, err := number(key, value)
		ids = append(ids, id)
		return true, err
	})
	return ids, err
}

// SetBlock implements storage.Accounts.
func (s *Store) SetBlock(ctx context.Context, user, target chat.UserID, blocked bool) error {
	b := s.db.NewBatch()
	key := key2(nil, tagBlock, uint64(user), uint64(target))
	var err error
	if blocked {
		err = b.Set(key, nil, nil)
	} else {
		err = b.Delete(key, nil)
	}
	if err != nil {
		return errors.Join(err, b.Close())
	}
	if err := s.apply(ctx, b, adding, pebble.Sync); err != nil {
		return fmt.Errorf("set block: %w", err)
	}
	return nil
}

// Blocks implements storage.Accounts.
func (s *Store) Blocks(ctx context.Context, user chat.UserID) ([]chat.UserID, error) {
	ids, err := s.listIDs(ctx, tagBlock, uint64(user))
	if err != nil {
		return nil, fmt.Errorf("blocks: %w", err)
	}
	targets := make([]chat.UserID, len(ids))
	for i, id := range ids {
		targets[i] = chat.UserID(id)
	}
	return targets, nil
}

// listIDs returns the second numbers of the keys (tag, n, …).
func (s *Store) listIDs(ctx context.Context, tag byte, n uint64) ([]uint64, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var ids []uint64
	err := s.scan(key1(nil, tag, n), nil, func(key, _ []byte) (bool, error) {
		if len(key) != 1+8+8 {
			return false, keyError(key, "not a key of two numbers")
		}
		ids = append(ids, binary.BigEndian.Uint64(key[1+8:]))
		return true, nil
	})
	return ids, err
}
