package delivery

import (
	"slices"
	"sync"

	"tidings/chat"
)

// directory knows the live sessions of this node by user and by device. Its lock
// is a leaf.
type directory struct {
	mu       sync.RWMutex
	users    map[chat.UserID][]*Session // the slices are never changed, only replaced
	devices  map[chat.DeviceID]*Session
	revision uint64 // raised by each revocation: see Engine.Open
}

func newDirectory() *directory {
	return &directory{users: make(map[chat.UserID][]*Session), devices: make(map[chat.DeviceID]*Session)}
}

// of returns the live sessions of a user. The slice must not be changed.
func (d *directory) of(u chat.UserID) []*Session {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.users[u]
}

// device returns the live session of a device, nil if there is none.
func (d *directory) device(id chat.DeviceID) *Session {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.devices[id]
}

// enter lists a session, and tells whether its user had none before.
func (d *directory) enter(s *Session) (first bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	a := &s.id.Actor
	old := d.users[a.User]
	d.users[a.User] = append(slices.Clip(old), s)
	if a.Device != 0 {
		d.devices[a.Device] = s
	}
	return len(old) == 0
}

// leave takes a session out, and tells whether it was its user's last one.
func (d *directory) leave(s *Session) (last bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	a := &s.id.Actor
	old := d.users[a.User]
	i := slices.Index(old, s)
	if i < 0 {
		return false
	}
	if len(old) == 1 {
		delete(d.users, a.User)
	} else {
		d.users[a.User] = slices.Concat(old[:i], old[i+1:])
	}
	if d.devices[a.Device] == s {
		delete(d.devices, a.Device)
	}
	return len(old) == 1
}

func (d *directory) revoked() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.revision++
}

func (d *directory) revocations() uint64 {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.revision
}

// room is the live sessions of a group's present members. A room exists only for
// groups that have had a message lately; it is made by the router, and sessions
// that begin later join it.
type room struct {
	id chat.ID

	mu   sync.Mutex
	live []*Session // appended to or replaced, never changed in place
	has  map[*Session]struct{}
}

// sessions returns the live sessions of the room; some may have ended.
func (r *room) sessions() []*Session {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.live
}

// join lists a session, and tells whether it was not there before.
func (r *room) join(s *Session) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.has[s]; ok {
		return false
	}
	if len(r.live) == cap(r.live) { // about to grow anyway
		r.dropLocked(func(s *Session) bool { return s.over.Load() })
	}
	r.has[s] = struct{}{}
	r.live = append(r.live, s)
	return true
}

// drop takes the sessions for which gone is true out of the room.
func (r *room) drop(gone func(*Session) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dropLocked(gone)
}

func (r *room) dropLocked(gone func(*Session) bool) {
	kept := make([]*Session, 0, len(r.live))
	for _, s := range r.live {
		if gone(s) {
			delete(r.has, s)
		} else {
			kept = append(kept, s)
		}
	}
	r.live = kept
}

// maxRooms bounds how many groups have a room; beyond it arbitrary ones are
// given up and made again when needed.
const maxRooms = 10_000

// rooms are the rooms by group chat. The lock is a leaf above room.mu.
type rooms struct {
	mu sync.Mutex
	by map[chat.ID]*room
}

func newRooms() *rooms { return &rooms{by: make(map[chat.ID]*room)} }

// get returns the room of a group, nil if it has none.
func (r *rooms) get(id chat.ID) *room {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.by[id]
}

// open makes an empty room that sessions can join at once.
func (r *rooms) open(id chat.ID) *room {
	r.mu.Lock()
	defer r.mu.Unlock()
	for old := range r.by {
		if len(r.by) < maxRooms {
			break
		}
		delete(r.by, old)
	}
	rm := &room{id: id, has: make(map[*Session]struct{})}
	r.by[id] = rm
	return rm
}

// join lists a session in the room of a group, if there is one. It tells whether
// the session was not there before: then entries may have passed it by, and the
// head has to be read again.
func (r *rooms) join(id chat.ID, s *Session) bool {
	rm := r.get(id)
	return rm != nil && rm.join(s)
}

// leave takes a session out of the room of a group.
func (r *rooms) leave(id chat.ID, s *Session) {
	if rm := r.get(id); rm != nil {
		rm.drop(func(o *Session) bool { return o == s })
	}
}
