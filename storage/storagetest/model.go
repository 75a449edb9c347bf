package storagetest

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"sync"

	"tidings/chat"
	"tidings/storage"
)

// Model is a storage.Store of maps and slices under one lock: the contract in its
// plainest form. It keeps everything in memory, also over Close, so that closing
// and using it again looks like reopening. It is meant for tests of the suite, of
// other stores and of the engine; it never fails.
type Model struct {
	mu sync.Mutex

	users   []chat.User // the id is the place plus one
	blocks  map[[2]chat.UserID]bool
	devices []chat.Device
	states  map[chat.DeviceID][]byte
	listed  map[chat.DeviceID]bool
	groups  []chat.Group

	logs    map[chat.ID]*modelLog
	inboxes map[chat.UserID]map[chat.ID]bool
	marks   map[modelMark]chat.Watermark
	cursors map[modelCursor]uint64

	retained map[string][]byte
}

type modelMark struct {
	chat chat.ID
	user chat.UserID
}

type modelCursor struct {
	chat   chat.ID
	user   chat.UserID
	device chat.DeviceID
}

var _ storage.Store = (*Model)(nil)

// NewModel returns an empty store.
func NewModel() *Model {
	return &Model{
		blocks:  map[[2]chat.UserID]bool{},
		states:  map[chat.DeviceID][]byte{},
		listed:  map[chat.DeviceID]bool{},
		logs:    map[chat.ID]*modelLog{},
		inboxes: map[chat.UserID]map[chat.ID]bool{},
		marks:   map[modelMark]chat.Watermark{},
		cursors: map[modelCursor]uint64{},

		retained: map[string][]byte{},
	}
}

// Open implements Opener: the model is its own data.
func (m *Model) Open() (storage.Store, error) { return m, nil }

// Health implements storage.Store.
func (m *Model) Health() error { return nil }

// Close implements storage.Store.
func (m *Model) Close() error { return nil }

// begin takes the lock, if ctx has not ended, and returns how to release it.
func (m *Model) begin(ctx context.Context) (func(), error) {
	if err := ctx.Err(); err != nil {
		return func() {}, err
	}
	m.mu.Lock()
	return m.mu.Unlock, nil
}

// pick returns the first element that matches, or the zero value.
func pick[T any](all []T, match func(*T) bool) T {
	if i := slices.IndexFunc(all, func(v T) bool { return match(&v) }); i >= 0 {
		return all[i]
	}
	var none T
	return none
}

// AddUsers implements storage.Accounts.
func (m *Model) AddUsers(ctx context.Context, users []chat.User) ([]chat.UserID, error) {
	end, err := m.begin(ctx)
	defer end()
	if err != nil {
		return nil, err
	}
	ids := make([]chat.UserID, len(users))
	for i, u := range users {
		if m.userNamed(u.Name).ID != 0 {
			continue
		}
		u.ID = chat.UserID(len(m.users) + 1)
		m.users = append(m.users, u)
		ids[i] = u.ID
	}
	return ids, nil
}

func (m *Model) userNamed(name string) chat.User {
	return pick(m.users, func(u *chat.User) bool { return u.Name == name })
}

// Users implements storage.Accounts.
func (m *Model) Users(ctx context.Context, ids []chat.UserID) ([]chat.User, error) {
	end, err := m.begin(ctx)
	defer end()
	if err != nil {
		return nil, err
	}
	users := make([]chat.User, len(ids))
	for i, id := range ids {
		users[i] = pick(m.users, func(u *chat.User) bool { return u.ID == id })
	}
	return users, nil
}

// UsersByName implements storage.Accounts.
func (m *Model) UsersByName(ctx context.Context, names []string) ([]chat.User, error) {
	end, err := m.begin(ctx)
	defer end()
	if err != nil {
		return nil, err
	}
	users := make([]chat.User, len(names))
	for i, name := range names {
		users[i] = m.userNamed(name)
	}
	return users, nil
}

// UpdateUser implements storage.Accounts.
func (m *Model) UpdateUser(ctx context.Context, id chat.UserID, change func(*chat.User) error) (chat.User, error) {
	end, err := m.begin(ctx)
	defer end()
	if err != nil {
		return chat.User{}, err
	}
	if id == 0 || int(id) > len(m.users) {
		return chat.User{}, storage.ErrNotFound
	}
	old := m.users[id-1]
	u := old
	if err := change(&u); err != nil {
		return chat.User{}, err
	}
	u.ID, u.Name, u.Created = old.ID, old.Name, old.Created
	m.users[id-1] = u
	return u, nil
}

// ListUsers implements storage.Accounts.
func (m *Model) ListUsers(ctx context.Context, after string, limit int) ([]chat.User, error) {
	end, err := m.begin(ctx)
	defer end()
	if err != nil {
		return nil, err
	}
	return page(m.users, func(u chat.User) string { return u.Name }, after, limit), nil
}

// page returns up to limit of all in order of name, from the first above after.
func page[T any](all []T, name func(T) string, after string, limit int) []T {
	sorted := slices.SortedFunc(slices.Values(all), func(a, b T) int { return cmp.Compare(name(a), name(b)) })
	sorted = slices.DeleteFunc(sorted, func(v T) bool { return name(v) <= after })
	return sorted[:max(0, min(limit, len(sorted)))]
}

// SetBlock implements storage.Accounts.
func (m *Model) SetBlock(ctx context.Context, user, target chat.UserID, blocked bool) error {
	end, err := m.begin(ctx)
	defer end()
	if err != nil {
		return err
	}
	if blocked {
		m.blocks[[2]chat.UserID{user, target}] = true
	} else {
		delete(m.blocks, [2]chat.UserID{user, target})
	}
	return nil
}

// Blocks implements storage.Accounts.
func (m *Model) Blocks(ctx context.Context, user chat.UserID) ([]chat.UserID, error) {
	end, err := m.begin(ctx)
	defer end()
	if err != nil {
		return nil, err
	}
	var targets []chat.UserID
	for pair := range m.blocks {
		if pair[0] == user {
			targets = append(targets, pair[1])
		}
	}
	slices.Sort(targets)
	return targets, nil
}

// AddDevices implements storage.Devices.
func (m *Model) AddDevices(ctx context.Context, devices []chat.Device) ([]chat.DeviceID, error) {
	end, err := m.begin(ctx)
	defer end()
	if err != nil {
		return nil, err
	}
	ids := make([]chat.DeviceID, len(devices))
	for i, d := range devices {
		if m.deviceNamed(d.User, d.Name).ID != 0 {
			continue
		}
		d.ID, d.Epoch, d.Token = chat.DeviceID(len(m.devices)+1), 0, bytes.Clone(d.Token)
		m.devices = append(m.devices, d)
		ids[i] = d.ID
	}
	return ids, nil
}

func (m *Model) deviceNamed(user chat.UserID, name string) chat.Device {
	return pick(m.devices, func(d *chat.Device) bool { return d.User == user && d.Name == name })
}

// Device implements storage.Devices.
func (m *Model) Device(ctx context.Context, id chat.DeviceID) (chat.Device, error) {
	end, err := m.begin(ctx)
	defer end()
	if err != nil {
		return chat.Device{}, err
	}
	return found(pick(m.devices, func(d *chat.Device) bool { return d.ID == id }))
}

// DeviceByName implements storage.Devices.
func (m *Model) DeviceByName(ctx context.Context, user chat.UserID, name string) (chat.Device, error) {
	end, err := m.begin(ctx)
	defer end()
	if err != nil {
		return chat.Device{}, err
	}
	return found(m.deviceNamed(user, name))
}

func found(d chat.Device) (chat.Device, error) {
	if d.ID == 0 {
		return d, storage.ErrNotFound
	}
	d.Token = bytes.Clone(d.Token)
	return d, nil
}

// DevicesOf implements storage.Devices.
func (m *Model) DevicesOf(ctx context.Context, user chat.UserID) ([]chat.Device, error) {
	end, err := m.begin(ctx)
	defer end()
	if err != nil {
		return nil, err
	}
	var devices []chat.Device
	for _, d := range m.devices {
		if d.User == user {
			d.Token = bytes.Clone(d.Token)
			devices = append(devices, d)
		}
	}
	return devices, nil
}

// UpdateDevice implements storage.Devices.
func (m *Model) UpdateDevice(
	ctx context.Context, id chat.DeviceID, change func(*chat.Device) error,
) (chat.Device, error) {
	end, err := m.begin(ctx)
	defer end()
	if err != nil {
		return chat.Device{}, err
	}
	if id == 0 || int(id) > len(m.devices) {
		return chat.Device{}, storage.ErrNotFound
	}
	old := m.devices[id-1]
	d := old
	d.Token = bytes.Clone(d.Token)
	if err := change(&d); err != nil {
		return chat.Device{}, err
	}
	d.ID, d.User, d.Name, d.Created, d.Epoch, d.Node = old.ID, old.User, old.Name, old.Created, old.Epoch, old.Node
	d.Token = bytes.Clone(d.Token)
	m.devices[id-1] = d
	return d, nil
}

// OpenSession implements storage.Devices.
func (m *Model) OpenSession(
	ctx context.Context, id chat.DeviceID, node string, nowMS int64,
) (chat.Device, []byte, string, error) {
	end, err := m.begin(ctx)
	defer end()
	if err != nil {
		return chat.Device{}, nil, "", err
	}
	if id == 0 || int(id) > len(m.devices) {
		return chat.Device{}, nil, "", storage.ErrNotFound
	}
	d := &m.devices[id-1]
	before := d.Node
	d.Epoch++
	d.Node, d.Seen = node, nowMS
	opened, _ := found(*d) // its token copied
	return opened, bytes.Clone(m.states[id]), before, nil
}

// SaveSession implements storage.Devices.
func (m *Model) SaveSession(ctx context.Context, st storage.SessionState) error {
	end, err := m.begin(ctx)
	defer end()
	if err != nil {
		return err
	}
	if st.Device == 0 || int(st.Device) > len(m.devices) {
		return storage.ErrNotFound
	}
	d := &m.devices[st.Device-1]
	if st.Epoch < d.Epoch {
		return nil
	}
	if st.State != nil {
		m.states[st.Device], m.listed[st.Device] = bytes.Clone(st.State), st.Listed
	}
	if st.Closed {
		d.Node, d.Seen = "", st.NowMS
	}
	return nil
}

// ListSessions implements storage.Devices.
func (m *Model) ListSessions(ctx context.Context, after chat.DeviceID, limit int) ([]storage.StoredSession, error) {
	end, err := m.begin(ctx)
	defer end()
	if err != nil {
		return nil, err
	}
	var sessions []storage.StoredSession
	for _, d := range m.devices { // in ascending order of id
		if d.ID > after && m.listed[d.ID] && !d.Revoked && len(sessions) < limit {
			d.Token = bytes.Clone(d.Token)
			sessions = append(sessions, storage.StoredSession{Device: d, State: bytes.Clone(m.states[d.ID])})
		}
	}
	return sessions, nil
}

// AddGroup implements storage.Groups.
func (m *Model) AddGroup(ctx context.Context, g chat.Group) (chat.GroupID, error) {
	end, err := m.begin(ctx)
	defer end()
	if err != nil {
		return 0, err
	}
	if m.groupNamed(g.Name).ID != 0 {
		return 0, nil
	}
	g.ID = chat.GroupID(len(m.groups) + 1)
	m.groups = append(m.groups, cloneGroup(g))
	return g.ID, nil
}

func (m *Model) groupNamed(name string) chat.Group {
	return pick(m.groups, func(g *chat.Group) bool { return g.Name == name })
}

// Groups implements storage.Groups.
func (m *Model) Groups(ctx context.Context, ids []chat.GroupID) ([]chat.Group, error) {
	end, err := m.begin(ctx)
	defer end()
	if err != nil {
		return nil, err
	}
	groups := make([]chat.Group, len(ids))
	for i, id := range ids {
		groups[i] = cloneGroup(pick(m.groups, func(g *chat.Group) bool { return g.ID == id }))
	}
	return groups, nil
}

// GroupsByName implements storage.Groups.
func (m *Model) GroupsByName(ctx context.Context, names []string) ([]chat.Group, error) {
	end, err := m.begin(ctx)
	defer end()
	if err != nil {
		return nil, err
	}
	groups := make([]chat.Group, len(names))
	for i, name := range names {
		groups[i] = cloneGroup(m.groupNamed(name))
	}
	return groups, nil
}

// UpdateGroup implements storage.Groups.
func (m *Model) UpdateGroup(ctx context.Context, id chat.GroupID, change func(*chat.Group) error) (chat.Group, error) {
	end, err := m.begin(ctx)
	defer end()
	if err != nil {
		return chat.Group{}, err
	}
	if id == 0 || int(id) > len(m.groups) {
		return chat.Group{}, storage.ErrNotFound
	}
	old := m.groups[id-1]
	g := cloneGroup(old)
	if err := change(&g); err != nil {
		return chat.Group{}, err
	}
	g.ID, g.Name, g.Creator, g.Created = old.ID, old.Name, old.Creator, old.Created
	m.groups[id-1] = cloneGroup(g)
	return g, nil
}

// ListGroups implements storage.Groups.
func (m *Model) ListGroups(ctx context.Context, after string, limit int) ([]chat.Group, error) {
	end, err := m.begin(ctx)
	defer end()
	if err != nil {
		return nil, err
	}
	groups := page(m.groups, func(g chat.Group) string { return g.Name }, after, limit)
	for i := range groups {
		groups[i] = cloneGroup(groups[i])
	}
	return groups, nil
}

func cloneGroup(g chat.Group) chat.Group {
	g.Invited = slices.Clone(g.Invited)
	return g
}
