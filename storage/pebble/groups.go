package pebble

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"tidings/chat"
)

// AddGroup implements storage.Groups.
func (s *Store) AddGroup(ctx context.Context, g chat.Group) (chat.GroupID, error) {
	s.accounts.Lock()
	defer s.accounts.Unlock()
	key := keyName(nil, tagGroupName, g.Name)
	names := names{s, make(map[string]bool, 1)}
	if ok, err := names.free(key); err != nil || !ok {
		return 0, err
	}
	last := s.ids.group + 1
	g.ID = chat.GroupID(last)
	b := s.db.NewBatch()
	if err := errors.Join(b.Set(key, be(nil, last), nil), setGroup(b, &g)); err != nil {
		return 0, errors.Join(fmt.Errorf("add group: %w", err), b.Close())
	}
	if err := s.commitIDs(ctx, b, tagGroup, &s.ids.group, last); err != nil {
		return 0, fmt.Errorf("add group: %w", err)
	}
	return g.ID, nil
}

func setGroup(b *pebble.Batch, g *chat.Group) error {
	value, err := encodeGroup(g)
	if err != nil {
		return err
	}
	return b.Set(key1(nil, tagGroup, uint64(g.ID)), value, nil)
}

func (s *Store) group(id chat.GroupID) (g chat.Group, ok bool, err error) {
	key := key1(nil, tagGroup, uint64(id))
	ok, err = s.get(key, func(value []byte) error { return decodeGroup(key, value, &g) })
	return g, ok, err
}

// Groups implements storage.Groups.
func (s *Store) Groups(ctx context.Context, ids []chat.GroupID) ([]chat.Group, error) {
	groups := make([]chat.Group, len(ids))
	for i, id := range ids {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		var err error
		if groups[i], _, err = s.group(id); err != nil {
			return nil, fmt.Errorf("groups: %w", err)
		}
	}
	return groups, nil
}

// GroupsByName implements storage.Groups.
func (s *Store) GroupsByName(ctx context.Context, names []string) ([]chat.Group, error) {
	ids := make([]chat.GroupID, len(names))
	for i, name := range names {
		id, err := s.getNumber(keyName(nil, tagGroupName, name))
		if err != nil {
			return nil, fmt.Errorf("groups by name: %w", err)
		}
		ids[i] = chat.GroupID(id)
	}
	return s.Groups(ctx, ids)
}

// UpdateGroup implements storage.Groups.
func (s *Store) UpdateGroup(ctx context.Context, id chat.GroupID, change func(*chat.Group) error) (chat.Group, error) {
	defer s.record(uint64(id))()
	old, ok, err := s.group(id)
	if err != nil || !ok {
		return chat.Group{}, missing(err, "group", uint64(id))
	}
	g := old
	if err := change(&g); err != nil {
		return chat.Group{}, err
	}
	g.ID, g.Name, g.Creator, g.Created = old.ID, old.Name, old.Creator, old.Created
	b := s.db.NewBatch()
	if err := setGroup(b, &g); err != nil {
		return chat.Group{}, errors.Join(err, b.Close())
	}
	if err := s.apply(ctx, b, adding, pebble.Sync); err != nil {
		return chat.Group{}, fmt.Errorf("update group %d: %w", id, err)
	}
	return g, nil
}

// ListGroups implements storage.Groups.
func (s *Store) ListGroups(ctx context.Context, after string, limit int) ([]chat.Group, error) {
	ids, err := s.listNames(tagGroupName, after, limit)
	if err != nil {
		return nil, fmt.Errorf("list groups: %w", err)
	}
	groups := make([]chat.GroupID, len(ids))
	for i, id := range ids {
		groups[i] = chat.GroupID(id)
	}
	return s.Groups(ctx, groups)
}
