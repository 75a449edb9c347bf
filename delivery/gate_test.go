package delivery_test

import (
	"context"
	"errors"
	"sync"

	"tidings/chat"
	"tidings/storage"
)

// gate is what a world's engine sees of the store. It can fail calls, stop them
// for a while, and die: a dead gate changes nothing any more, so that an engine
// behind it is like one whose process has been killed.
type gate struct {
	storage.Store

	alive sync.RWMutex // held for writing to die
	dead  bool

	mu     sync.Mutex
	before map[string]func() error // by method: an error fails the call with no effect
	after  map[string]func() error // an error fails the call although it has had its effect
	batch  func(*storage.Batch) error
}

var errDead = errors.New("the process is dead")

func newGate(s storage.Store) *gate {
	return &gate{Store: s, before: map[string]func() error{}, after: map[string]func() error{}}
}

// kill returns when nothing that the engine does reaches the store any more.
func (g *gate) kill() {
	g.alive.Lock()
	defer g.alive.Unlock()
	g.dead = true
}

// on sets what happens before a method; nil: nothing.
func (g *gate) on(method string, f func() error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.before[method] = f
}

// behind sets what happens behind a method's effect; nil: nothing.
func (g *gate) behind(method string, f func() error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.after[method] = f
}

func (g *gate) hook(m map[string]func() error, method string) error {
	g.mu.Lock()
	f := m[method]
	g.mu.Unlock()
	if f == nil {
		return nil
	}
	return f()
}

func through[T any](g *gate, method string, call func() (T, error)) (T, error) {
	var none T
	if err := g.hook(g.before, method); err != nil {
		return none, err
	}
	g.alive.RLock()
	if g.dead {
		g.alive.RUnlock()
		return none, errDead
	}
	v, err := call()
	g.alive.RUnlock()
	if after := g.hook(g.after, method); err == nil && after != nil {
		return none, after
	}
	return v, err
}

func (g *gate) do(method string, call func() error) error {
	_, err := through(g, method, func() (struct{}, error) { return struct{}{}, call() })
	return err
}

// onAppend has f decide about each batch before it is appended.
func (g *gate) onAppend(f func(*storage.Batch) error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.batch = f
}

func (g *gate) Append(ctx context.Context, b *storage.Batch) error {
	g.mu.Lock()
	decide := g.batch
	g.mu.Unlock()
	if decide != nil {
		if err := decide(b); err != nil {
			return err
		}
	}
	return g.do("Append", func() error { return g.Store.Append(ctx, b) })
}

func (g *gate) Advance(ctx context.Context, as []storage.Advance) error {
	return g.do("Advance", func() error { return g.Store.Advance(ctx, as) })
}

func (g *gate) SaveSession(ctx context.Context, s storage.SessionState) error {
	return g.do("SaveSession", func() error { return g.Store.SaveSession(ctx, s) })
}

func (g *gate) Trim(ctx context.Context, t storage.Trim) error {
	return g.do("Trim", func() error { return g.Store.Trim(ctx, t) })
}

func (g *gate) SetBlock(ctx context.Context, user, target chat.UserID, blocked bool) error {
	return g.do("SetBlock", func() error { return g.Store.SetBlock(ctx, user, target, blocked) })
}

func (g *gate) UpdateDevice(ctx context.Context, id chat.DeviceID, change func(*chat.Device) error) (chat.Device, error) {
	return through(g, "UpdateDevice", func() (chat.Device, error) { return g.Store.UpdateDevice(ctx, id, change) })
}

func (g *gate) UpdateUser(ctx context.Context, id chat.UserID, change func(*chat.User) error) (chat.User, error) {
	return through(g, "UpdateUser", func() (chat.User, error) { return g.Store.UpdateUser(ctx, id, change) })
}

func (g *gate) UpdateGroup(ctx context.Context, id chat.GroupID, change func(*chat.Group) error) (chat.Group, error) {
	return through(g, "UpdateGroup", func() (chat.Group, error) { return g.Store.UpdateGroup(ctx, id, change) })
}

func (g *gate) Read(ctx context.Context, r storage.Range) ([]chat.Message, error) {
	return through(g, "Read", func() ([]chat.Message, error) { return g.Store.Read(ctx, r) })
}

func (g *gate) Chats(ctx context.Context, ids []chat.ID) ([]storage.ChatInfo, error) {
	return through(g, "Chats", func() ([]storage.ChatInfo, error) { return g.Store.Chats(ctx, ids) })
}

func (g *gate) Inbox(
	ctx context.Context, user chat.UserID, device chat.DeviceID, after chat.ID, limit int,
) ([]storage.Tail, error) {
	return through(g, "Inbox", func() ([]storage.Tail, error) { return g.Store.Inbox(ctx, user, device, after, limit) })
}

func (g *gate) OpenSession(
	ctx context.Context, id chat.DeviceID, node string, nowMS int64,
) (d chat.Device, state []byte, openBefore string, err error) {
	err = g.do("OpenSession", func() error {
		var err error
		d, state, openBefore, err = g.Store.OpenSession(ctx, id, node, nowMS)
		return err
	})
	return d, state, openBefore, err
}
