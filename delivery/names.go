package delivery

import (
	"context"
	"slices"
	"sync"

	"tidings/chat"
	"tidings/storage"
)

// account is an immutable snapshot of a user, with the topic he is written to.
type account struct {
	chat.User
	topic  string        // u/{name}
	blocks []chat.UserID // whom he has blocked
}

// hasBlocked tells whether the account has blocked a user.
func (a *account) hasBlocked(u chat.UserID) bool { return slices.Contains(a.blocks, u) }

// active tells whether the account can be written to and can enter.
func (a *account) active() bool { return a != nil && !a.Disabled && !a.Removed }

// group is an immutable snapshot of a group's settings.
type group struct {
	chat.Group
	topic string // g/{name}
}

// maxNames bounds each cache of names; beyond it arbitrary entries are let go.
const maxNames = 100_000

// names caches the snapshots of users or groups by name and by id. A miss is
// never cached. It is safe for concurrent use; mu is a leaf lock.
type names[I comparable, T any] struct {
	byNames func(context.Context, []string) ([]*T, error)
	byIDs   func(context.Context, []I) ([]*T, error)
	key     func(*T) (I, string)

	mu     sync.RWMutex
	name   map[string]*T
	id     map[I]*T
	change uint64 // raised by forget, so that a read from before it is not cached
}

func newNames[I comparable, T any](
	byNames func(context.Context, []string) ([]*T, error),
	byIDs func(context.Context, []I) ([]*T, error),
	key func(*T) (I, string),
) *names[I, T] {
	return &names[I, T]{
		byNames: byNames, byIDs: byIDs, key: key,
		name: make(map[string]*T), id: make(map[I]*T),
	}
}

// cachedName returns what is in memory of a name, nil if nothing is.
func (n *names[I, T]) cachedName(name []byte) *T {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.name[string(name)]
}

// named returns the snapshots of these names, in order; nil for unknown names.
func (n *names[I, T]) named(ctx context.Context, list []string) ([]*T, error) {
	return lookup(n, list, func(s string) *T { return n.name[s] }, func(miss []string) ([]*T, error) {
		return n.byNames(ctx, miss)
	})
}

// withIDs returns the snapshots of these ids, in order; nil for unknown ids.
func (n *names[I, T]) withIDs(ctx context.Context, list []I) ([]*T, error) {
	return lookup(n, list, func(id I) *T { return n.id[id] }, func(miss []I) ([]*T, error) {
		return n.byIDs(ctx, miss)
	})
}

// lookup answers from memory where it can and asks the store once for the rest.
func lookup[I comparable, T any, K any](n *names[I, T], keys []K, cached func(K) *T, load func([]K) ([]*T, error)) ([]*T, error) {
	found := make([]*T, len(keys))
	var miss []K
	var at []int
	n.mu.RLock()
	change := n.change
	for i, k := range keys {
		if found[i] = cached(k); found[i] == nil {
			miss, at = append(miss, k), append(at, i)
		}
	}
	n.mu.RUnlock()
	if len(miss) == 0 {
		return found, nil
	}
	loaded, err := load(miss)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for i, t := range loaded {
		found[at[i]] = t
		if t != nil && n.change == change {
			n.keepLocked(t)
		}
	}
	return found, nil
}

func (n *names[I, T]) keepLocked(t *T) {
	id, name := n.key(t)
	for old := range n.id {
		if len(n.id) < maxNames {
			break
		}
		_, oldName := n.key(n.id[old])
		delete(n.id, old)
		delete(n.name, oldName)
	}
	n.id[id], n.name[name] = t, t
}

// forget drops what is in memory of an id. It is called after the store has
// changed.
func (n *names[I, T]) forget(id I) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.change++
	if t := n.id[id]; t != nil {
		_, name := n.key(t)
		delete(n.id, id)
		delete(n.name, name)
	}
}

func newAccounts(s storage.Accounts) *names[chat.UserID, account] {
	snapshots := func(ctx context.Context, us []chat.User, err error) ([]*account, error) {
		out := make([]*account, len(us))
		for i, u := range us {
			if err != nil {
				return nil, err
			}
			if u.ID == 0 {
				continue
			}
			a := &account{User: u, topic: "u/" + u.Name}
			a.Credentials = chat.Credentials{} // nothing here needs them
			a.blocks, err = s.Blocks(ctx, u.ID)
			out[i] = a
		}
		return out, err
	}
	return newNames(
		func(ctx context.Context, l []string) ([]*account, error) {
			us, err := s.UsersByName(ctx, l)
			return snapshots(ctx, us, err)
		},
		func(ctx context.Context, l []chat.UserID) ([]*account, error) {
			us, err := s.Users(ctx, l)
			return snapshots(ctx, us, err)
		},
		func(a *account) (chat.UserID, string) { return a.ID, a.Name },
	)
}

func newGroups(s storage.Groups) *names[chat.GroupID, group] {
	snapshots := func(gs []chat.Group, err error) ([]*group, error) {
		if err != nil {
			return nil, err
		}
		out := make([]*group, len(gs))
		for i, g := range gs {
			if g.ID != 0 {
				out[i] = &group{Group: g, topic: "g/" + g.Name}
			}
		}
		return out, nil
	}
	return newNames(
		func(ctx context.Context, l []string) ([]*group, error) { return snapshots(s.GroupsByName(ctx, l)) },
		func(ctx context.Context, l []chat.GroupID) ([]*group, error) { return snapshots(s.Groups(ctx, l)) },
		func(g *group) (chat.GroupID, string) { return g.ID, g.Name },
	)
}
