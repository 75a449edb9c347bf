package delivery

import (
	"context"
	"sync"

	"tidings/chat"
	"tidings/storage"
)

// audienceAllows tells whether by belongs to the audience of a setting of u.
func (e *Engine) audienceAllows(ctx context.Context, a chat.Audience, u, by chat.UserID) (bool, error) {
	switch {
	case u == by || a == "" || a == chat.AudienceEveryone:
		return true, nil
	case a == chat.AudienceNobody:
		return false, nil
	}
	return e.shareChat(ctx, u, by)
}

// shareChat tells whether two users are in a chat together: a group that both are
// members of, or a direct chat in which u has written.
func (e *Engine) shareChat(ctx context.Context, u, by chat.UserID) (bool, error) {
	groups := make(map[chat.ID]bool)
	err := e.eachTail(ctx, u, 0, func(tails []storage.Tail) error {
		for _, t := range tails {
			if t.Member.Role != chat.RoleNone {
				groups[t.Chat] = true
			}
		}
		return nil
	})
	if err != nil {
		return false, err
	}
	shared := false
	err = e.eachTail(ctx, by, 0, func(tails []storage.Tail) error {
		for _, t := range tails {
			shared = shared || t.Member.Role != chat.RoleNone && groups[t.Chat]
		}
		return nil
	})
	if err != nil || shared {
		return shared, err
	}
	return e.hasWritten(ctx, chat.DirectChat(u, by), u)
}

// writtenWithin is how far back a direct chat is searched for something that a
// user has written.
const writtenWithin = 500

func (e *Engine) hasWritten(ctx context.Context, id chat.ID, u chat.UserID) (bool, error) {
	msgs, err := e.store.Read(ctx, storage.Range{Chat: id, Limit: writtenWithin, Reverse: true})
	for i := range msgs {
		if msgs[i].From == u {
			return true, nil
		}
	}
	return false, err
}

// deviceNames caches the names of devices, which never change. It is safe for
// concurrent use.
type deviceNames struct {
	store storage.Devices
	mu    sync.RWMutex
	by    map[chat.DeviceID]string
}

func newDeviceNames(s storage.Devices) *deviceNames {
	return &deviceNames{store: s, by: make(map[chat.DeviceID]string)}
}

func (n *deviceNames) name(ctx context.Context, id chat.DeviceID) (string, error) {
	n.mu.RLock()
	name, ok := n.by[id]
	n.mu.RUnlock()
	if ok || id == 0 {
		return name, nil
	}
	d, err := n.store.Device(ctx, id)
	if err != nil {
		return "", err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for old := range n.by {
		if len(n.by) < maxNames {
			break
		}
		delete(n.by, old)
	}
	n.by[id] = d.Name
	return d.Name, nil
}

// senders looks up the names of who sent messages.
func (e *Engine) senders(ctx context.Context, msgs []chat.Message) ([]sender, error) {
	if len(msgs) == 0 {
		return nil, nil
	}
	ids := make([]chat.UserID, len(msgs))
	for i := range msgs {
		ids[i] = msgs[i].From
	}
	us, err := e.accounts.withIDs(ctx, ids)
	if err != nil {
		return nil, err
	}
	out := make([]sender, len(msgs))
	for i := range msgs {
		if us[i] == nil { // the server
			continue
		}
		out[i].from = us[i].Name
		if out[i].device, err = e.devices.name(ctx, msgs[i].Device); err != nil {
			return nil, err
		}
	}
	return out, nil
}
