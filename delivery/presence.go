package delivery

import (
	"context"
	"sync"
	"time"

	"tidings/chat"
)

// presenceState is what a user says of himself; "" is online.
type presenceState = chat.PresenceState

// Presence is told to those who have subscribed to a user by name, as his
// privacy allows. So that it never becomes a storm, the end of a user's last
// session is told after a pause, and a user's changes at most once in an interval.
const (
	offlineAfter  = 5 * time.Second
	presenceEvery = 10 * time.Second
	presenceTick  = 250 * time.Millisecond
)

// presence keeps the states of users who are online or were a moment ago.
type presence struct {
	e *Engine

	mu       sync.Mutex
	users    map[chat.UserID]*presenceOf
	due      map[chat.UserID]time.Time        // when a change is to be told
	watchers map[string]map[*Session]struct{} // by user name
}

// presenceOf is one user's state.
type presenceOf struct {
	online bool
	says   presenceState
	told   presenceState // what watchers know; "" is offline
	at     time.Time     // when that was told
	left   int64         // Unix milliseconds of the last session's end
}

// retained is a state to be sent to a new subscriber.
type retained struct {
	user    string
	payload []byte
}

func newPresence(e *Engine) *presence {
	return &presence{
		e: e, users: make(map[chat.UserID]*presenceOf), due: make(map[chat.UserID]time.Time),
		watchers: make(map[string]map[*Session]struct{}),
	}
}

// came notes that a user has his first session. What was first or last may be
// told in another order than it happened: the directory decides.
func (p *presence) came(u chat.UserID) {
	p.change(u, 0, func(s *presenceOf) { s.online = len(p.e.directory.of(u)) > 0 })
}

// left notes that a user has no session any more, as came does.
func (p *presence) left(u chat.UserID) {
	p.change(u, offlineAfter, func(s *presenceOf) {
		if len(p.e.directory.of(u)) == 0 {
			s.online, s.says, s.left = false, "", time.Now().UnixMilli()
		}
	})
}

// say notes what a user says of himself.
func (p *presence) say(s *Session, state presenceState) {
	p.change(s.user(), 0, func(o *presenceOf) {
		if state == chat.PresenceInvisible && o.says != state {
			o.left = time.Now().UnixMilli() // as if he had gone
		}
		o.says = state
	})
}

func (p *presence) change(u chat.UserID, after time.Duration, f func(*presenceOf)) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.users[u]
	if o == nil {
		o = &presenceOf{}
		p.users[u] = o
	}
	f(o)
	due := now.Add(after)
	if next := o.at.Add(presenceEvery); next.After(due) {
		due = next
	}
	p.due[u] = due
}

// shown returns the state that others may see.
func (o *presenceOf) shown() presenceState {
	switch {
	case o == nil || !o.online || o.says == chat.PresenceInvisible:
		return chat.PresenceOffline
	case o.says == "":
		return chat.PresenceOnline
	default:
		return o.says
	}
}

// watch makes the session's presence filters count. The session's lock is held.
func (p *presence) watch(s *Session, sc *scope) {
	p.unwatch(s)
	p.mu.Lock()
	defer p.mu.Unlock()
	for user := range sc.presence.some {
		s.watches = append(s.watches, user)
		if p.watchers[user] == nil {
			p.watchers[user] = make(map[*Session]struct{})
		}
		p.watchers[user][s] = struct{}{}
	}
}

// unwatch ends the session's presence filters.
func (p *presence) unwatch(s *Session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, user := range s.watches {
		delete(p.watchers[user], s)
		if len(p.watchers[user]) == 0 {
			delete(p.watchers, user)
		}
	}
	s.watches = nil
}

// run tells changes until ctx ends.
func (p *presence) run(ctx context.Context) {
	tick := time.NewTicker(presenceTick)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			for _, n := range p.changes(now) {
				p.tell(ctx, n)
			}
		}
	}
}

// news is a change that is due.
type news struct {
	user     chat.UserID
	state    presenceState
	lastSeen int64
}

func (p *presence) changes(now time.Time) []news {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []news
	for u, due := range p.due {
		if due.After(now) {
			continue
		}
		delete(p.due, u)
		o := p.users[u]
		state := o.shown()
		if told := o.told; state != told && !(told == "" && state == chat.PresenceOffline) {
			o.told, o.at = state, now
			n := news{user: u, state: state}
			if state == chat.PresenceOffline {
				n.lastSeen = o.left
			}
			out = append(out, n)
		}
		switch again := o.at.Add(presenceEvery); {
		case o.online:
		case again.After(now): // who comes back before that waits for it
			p.due[u] = again
		default:
			delete(p.users, u)
		}
	}
	return out
}

// tell sends a user's state to those who watch and may see it.
func (p *presence) tell(ctx context.Context, n news) {
	us, err := p.e.accounts.withIDs(ctx, []chat.UserID{n.user})
	if err != nil || us[0] == nil {
		return
	}
	u := us[0]
	payload := chat.AppendPresence(nil, u.Name, n.state, n.lastSeen)
	for _, s := range p.watching(u.Name) {
		if ok, err := p.visible(ctx, u, s.user()); err != nil || !ok {
			continue
		}
		s.whisper(func(sc *scope) *Want { return sc.presence.of(u.Name) }, u.topic+"/presence", payload, false)
		s.link.Flush()
	}
}

func (p *presence) watching(user string) []*Session {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []*Session
	for s := range p.watchers[user] {
		out = append(out, s)
	}
	return out
}

// visible tells whether a user's presence may be seen by another.
func (p *presence) visible(ctx context.Context, u *account, by chat.UserID) (bool, error) {
	if !u.active() || u.hasBlocked(by) {
		return false, nil
	}
	return p.e.audienceAllows(ctx, u.Presence, u.ID, by)
}

// states returns the present states that new subscriptions ask for. Users who do
// not exist and those whom the session may not see look alike: nothing comes.
func (p *presence) states(ctx context.Context, s *Session, asked []string) ([]retained, error) {
	var out []retained
	for _, name := range asked {
		us, err := p.e.accounts.named(ctx, []string{name})
		if err != nil {
			return nil, err
		}
		if us[0] == nil {
			continue
		}
		if ok, err := p.visible(ctx, us[0], s.user()); err != nil {
			return nil, err
		} else if !ok {
			continue
		}
		payload, err := p.state(ctx, us[0])
		if err != nil {
			return nil, err
		}
		out = append(out, retained{name, payload})
	}
	return out, nil
}

// now returns the state that others may be told.
func (p *presence) now(u chat.UserID) presenceState {
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.users[u]
	if o != nil && !o.online && o.told != "" { // its end is not told yet
		return o.told
	}
	return o.shown()
}

// state returns what may be told of a user now, as a payload.
func (p *presence) state(ctx context.Context, u *account) ([]byte, error) {
	state := p.now(u.ID)
	if state != chat.PresenceOffline {
		return chat.AppendPresence(nil, u.Name, state, 0), nil
	}
	seen, err := p.seen(ctx, u.ID)
	if err != nil {
		return nil, err
	}
	return chat.AppendPresence(nil, u.Name, state, seen), nil
}

// seen returns when a user who shows as offline was last seen: for one who is
// invisible, when he became that.
func (p *presence) seen(ctx context.Context, u chat.UserID) (int64, error) {
	p.mu.Lock()
	o := p.users[u]
	hidden := o != nil && o.online && o.says == chat.PresenceInvisible
	left := int64(0)
	if hidden {
		left = o.left
	}
	p.mu.Unlock()
	if hidden {
		return left, nil
	}
	return p.e.lastSeen(ctx, u)
}

// lastSeen returns when a user was last connected, in Unix milliseconds; zero if
// never.
func (e *Engine) lastSeen(ctx context.Context, u chat.UserID) (int64, error) {
	ds, err := e.store.DevicesOf(ctx, u)
	if err != nil {
		return 0, err
	}
	var seen int64
	for _, d := range ds {
		seen = max(seen, d.Seen)
	}
	return seen, nil
}
