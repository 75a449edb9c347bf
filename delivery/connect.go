package delivery

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"

	"tidings/chat"
	"tidings/hooks"
)

// OpenOptions are what a connection tells the engine about itself.
type OpenOptions struct {
	Link      Link
	Clean     bool          // MQTT clean start: forget subscriptions and packet state, never undelivered messages
	Window    int           // deliveries that may be unacknowledged at once: the client's Receive Maximum; 0: no limit of the client's
	Temporary bool          // subscriptions end with the connection (3.1.1 clean session, session expiry 0)
	KeepFor   time.Duration // how long the MQTT session is kept after a crash of the server; zero: for ever. CloseHow tells it for other ends
	Protocol  string        // as in hooks.Login
	Remote    netip.AddrPort
}

// OpenInfo is what Open found.
type OpenInfo struct {
	Present bool   // a persistent session was taken up again: MQTT Session Present
	Carrier []byte // what Session.SaveCarrier stored last, nil if nothing
	Epoch   uint32
}

// takeoverWait is how long a connection waits for an older one of the same device
// to write its cursors.
const takeoverWait = time.Second

// opening makes connects of one device take turns. Its lock is a leaf.
type opening struct {
	mu sync.Mutex
	by map[chat.DeviceID]chan struct{}
}

// enter waits until no other connect of the device is under way.
func (o *opening) enter(ctx context.Context, d chat.DeviceID) error {
	for {
		o.mu.Lock()
		busy := o.by[d]
		if busy == nil {
			o.by[d] = make(chan struct{})
			o.mu.Unlock()
			return nil
		}
		o.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (o *opening) leave(d chat.DeviceID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.by[d])
	delete(o.by, d)
}

// Open begins a session: it ends an older one of the same device (whose link gets
// ReasonTakenOver), raises the epoch and loads what was kept. It may block.
// Nothing is delivered before Start. Errors are those of Login.
func (e *Engine) Open(ctx context.Context, id Identity, o OpenOptions) (*Session, OpenInfo, error) {
	s := &Session{
		e: e, id: id, link: o.Link, temporary: o.Temporary, keepFor: o.KeepFor, access: new(access),
		window: window{again: -1}, queue: window{again: -1, queue: true},
		drained: make(chan struct{}), closed: make(chan struct{}),
	}
	s.limit = e.cfg.Window
	if o.Window > 0 {
		s.limit = min(s.limit, o.Window)
	}
	var info OpenInfo
	memberships, err := e.open.admit(ctx, s)
	if err != nil {
		return nil, info, unavailable(err)
	}
	if !id.Guest {
		if err := e.opening.enter(ctx, s.device()); err != nil {
			return nil, info, unavailable(err)
		}
		defer e.opening.leave(s.device())
		if err = e.takeOver(ctx, s.device()); err != nil {
			return nil, info, unavailable(err)
		}
		if info, err = s.restore(ctx, o.Clean); err != nil {
			return nil, info, unavailable(err)
		}
		e.open.takeUp(s)
	}
	first := e.directory.enter(s)
	if err = e.recheck(ctx, id); err == nil {
		err = unavailable(e.open.readmit(ctx, s, memberships))
	}
	if err != nil {
		s.mu.Lock()
		s.ended = true
		s.mu.Unlock()
		s.over.Store(true) // the router may have seen it already
		e.directory.leave(s)
		if s.open != nil {
			s.open.live.CompareAndSwap(s, nil)
			if errors.Is(err, hooks.ErrBadCredentials) { // it may have come into the index behind the revocation
				e.open.forget(s.open)
			}
		}
		return nil, info, err
	}
	if s.open != nil {
		s.open.shut.Store(false) // it is let in: see leave
	}
	e.plugins.AfterConnect(&s.id.Actor)
	if first {
		e.presence.came(s.user())
	}
	return s, info, nil
}

// takeOver ends the live session of a device and waits for its cursors. An error
// means that ctx ended first: the device is still the older session's.
func (e *Engine) takeOver(ctx context.Context, d chat.DeviceID) error {
	old := e.directory.device(d)
	if old == nil {
		return nil
	}
	old.link.Close(ReasonTakenOver)
	wait := time.NewTimer(takeoverWait)
	defer wait.Stop()
	select {
	case <-old.closed:
	case <-ctx.Done():
		return ctx.Err()
	case <-wait.C:
		old.Close(ctx, CloseHow{Reason: "taken_over", LastIn: time.Now().UnixMilli()})
	}
	return nil
}

// recheck finds out whether a login is still good if something was revoked while
// it was under way. The session is in the directory by now: what is revoked later
// finds it there.
func (e *Engine) recheck(ctx context.Context, id Identity) error {
	if e.directory.revocations() == id.revision {
		return nil
	}
	us, err := e.store.Users(ctx, []chat.UserID{id.Actor.User})
	if err != nil {
		return unavailable(err)
	}
	if us[0].Disabled || us[0].Removed {
		return hooks.ErrBadCredentials
	}
	if id.Guest {
		return nil
	}
	d, err := e.store.Device(ctx, id.Actor.Device)
	if err != nil {
		return unavailable(err)
	}
	if d.Revoked {
		return hooks.ErrBadCredentials
	}
	return nil
}

// Start begins the feeding of what a persistent session had subscribed. The
// carrier calls it after CONNACK has been written to the output.
func (s *Session) Start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.started = true
	s.wakeLocked()
}
