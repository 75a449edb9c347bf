package delivery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"tidings/chat"
	"tidings/storage"
)

// ledger is what the committer knows of chats: their heads and who may write. It
// belongs to the committer's goroutine; others ask for corrections through forget.
// Chats that have not been used for long leave it.
type ledger struct {
	e     *Engine
	chats map[chat.ID]*ledgerChat
	order lruList   // least recently used first
	load  int       // sum of the weights of chats
	max   int       // of load, between batches
	now   time.Time // when the present batch began

	mu      sync.Mutex
	stale   []func(*ledger) // corrections to make before the next batch
	applied chan struct{}   // closed when those have been made
	stopped bool            // nobody makes any
}

// maxLedgerWeight bounds the ledger; a direct chat weighs 1, a group 1 and 1 more
// for each eight members (about 300 bytes per unit).
const maxLedgerWeight = 150_000

// ledgerChat is one chat of the ledger. The fields of the first group do not
// change and may be read by anybody who was handed the chat.
type ledgerChat struct {
	id     chat.ID
	users  [2]*account // of a direct chat, in the order of the id; of events: the first
	group  *group      // of a group chat
	policy [2]*Refusal // of a direct chat: why users[i] may not write; nil: he may
	shared bool        // policy depends on what chats the users share, so that it ages
	readAt time.Time   // when policy was decided
	from   uint64      // head at that time

	head    uint64                    // as of the last batch
	broken  *Refusal                  // why nothing can be done here: its users or group cannot be read
	members map[chat.UserID]chat.Role // of a group: the present ones

	gone         bool // dropped from the ledger: whoever still points here looks again
	newer, older *ledgerChat
	weight       int
}

// allows returns nil if user may do a thing of that kind in the chat at its
// present head. Marking a direct chat as read is always allowed, also to those
// who may not write there any more.
func (c *ledgerChat) allows(k kind, user chat.UserID) *Refusal {
	switch {
	case c.broken != nil:
		return c.broken
	case c.group != nil:
		if c.group.Removed || c.members[user] == chat.RoleNone {
			return refuseNotAllowed
		}
		return nil
	case k == kindRead:
		return nil
	case c.users[0].ID == user:
		return c.policy[0]
	default:
		return c.policy[1]
	}
}

// apply makes a membership change that has been decided.
func (c *ledgerChat) apply(changes []storage.MemberChange) {
	for _, ch := range changes {
		if ch.Role == chat.RoleNone {
			delete(c.members, ch.User)
		} else {
			c.members[ch.User] = ch.Role
		}
	}
}

func newLedger(e *Engine) *ledger {
	return &ledger{e: e, max: maxLedgerWeight, chats: make(map[chat.ID]*ledgerChat), applied: make(chan struct{})}
}

// sharedAge is how long a policy holds that depends on what chats two users share.
const sharedAge = time.Second

// get returns a chat that is in memory, nil if it is not or has to be read again.
func (l *ledger) get(id chat.ID) *ledgerChat {
	c := l.chats[id]
	if c == nil {
		return nil
	}
	if c.outdated(l.now) {
		l.drop(id)
		return nil
	}
	l.order.touch(c)
	return c
}

// outdated tells whether the policy of a direct chat has to be decided anew. It
// ages where users may be written to by those who share a chat with them: groups
// change behind the ledger's back, and who is refused may be answered by then. What
// has been read for a batch holds for that batch, however long the reading took.
func (c *ledgerChat) outdated(now time.Time) bool {
	if !c.shared {
		return false
	}
	refuses := c.policy[0] != nil || c.policy[1] != nil
	return refuses && c.head != c.from || now.Sub(c.readAt) > sharedAge
}

// drop forgets a chat: it is read again when it is next needed.
func (l *ledger) drop(id chat.ID) {
	if c := l.chats[id]; c != nil {
		c.gone = true
		delete(l.chats, id)
		l.order.remove(c)
		l.load -= c.weight
	}
}

func (l *ledger) keep(c *ledgerChat) {
	l.drop(c.id)
	c.weight = 1 + len(c.members)/8
	l.chats[c.id] = c
	l.order.push(c)
	l.load += c.weight
}

// begin prepares the ledger for the next batch. Only here chats leave it for their
// age: while a batch is decided it needs all that it has read, even if that is too
// much to be kept.
func (l *ledger) begin() {
	l.correct()
	l.now = time.Now()
	for l.load > l.max {
		l.drop(l.order.oldest.id)
	}
}

// later asks for a correction before the next batch and returns a channel that
// is closed once it has been made. It may be called from any goroutine.
func (l *ledger) later(f func(*ledger)) <-chan struct{} {
	l.mu.Lock()
	done := l.applied
	if !l.stopped {
		l.stale = append(l.stale, f)
	}
	l.mu.Unlock()
	l.e.intake.nudge()
	return done
}

// forgetChat makes the committer read a chat again.
func (l *ledger) forgetChat(id chat.ID) <-chan struct{} {
	return l.later(func(l *ledger) { l.drop(id) })
}

// forgetUser makes the committer read again what a user's settings decide.
func (l *ledger) forgetUser(u chat.UserID) <-chan struct{} {
	return l.later(func(l *ledger) {
		for id, c := range l.chats {
			if c.group == nil && slices.Contains(id.Users(), u) {
				l.drop(id)
			}
		}
	})
}

// correct makes the corrections asked for.
func (l *ledger) correct() {
	l.mu.Lock()
	stale, applied := l.stale, l.applied
	l.stale, l.applied = nil, make(chan struct{})
	l.mu.Unlock()
	for _, f := range stale {
		f(l)
	}
	close(applied)
}

// stop ends corrections: who waits for one goes on.
func (l *ledger) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = true
	close(l.applied)
}

// read brings chats into the ledger that are not in it: one call to the store for
// all heads, and what decides about writing for each.
func (l *ledger) read(ctx context.Context, ids []chat.ID) error {
	infos, err := l.e.store.Chats(ctx, ids)
	if err != nil {
		return fmt.Errorf("read heads of %d chats: %w", len(ids), err)
	}
	for i, id := range ids {
		c := &ledgerChat{id: id, head: infos[i].Head}
		if id.Kind() == chat.KindGroup {
			err = l.readGroup(ctx, c)
		} else {
			err = l.readUsers(ctx, c)
		}
		switch {
		case errors.Is(err, storage.ErrNotFound) || errors.Is(err, storage.ErrCorrupt): // harms this chat alone
			l.e.log.Error("cannot use a chat", "err", err, "chat", id.String())
			c.broken = refuseInternal
		case err != nil:
			return fmt.Errorf("read %v: %w", id, err)
		}
		l.keep(c)
	}
	return nil
}

func (l *ledger) readGroup(ctx context.Context, c *ledgerChat) error {
	gs, err := l.e.groups.withIDs(ctx, []chat.GroupID{c.id.Group()})
	if err != nil {
		return err
	}
	if gs[0] == nil {
		return storage.ErrNotFound
	}
	c.group = gs[0]
	rows, _, err := l.e.store.Members(ctx, c.id)
	if err != nil {
		return err
	}
	c.members = make(map[chat.UserID]chat.Role)
	for _, m := range rows {
		if m.Role != chat.RoleNone {
			c.members[m.User] = m.Role
		}
	}
	return nil
}

func (l *ledger) readUsers(ctx context.Context, c *ledgerChat) error {
	ids := c.id.Users()
	us, err := l.e.accounts.withIDs(ctx, ids)
	if err != nil {
		return err
	}
	for i, u := range us {
		if u == nil {
			return storage.ErrNotFound
		}
		c.users[i] = u
	}
	if len(us) == 1 {
		return nil
	}
	c.readAt, c.from = time.Now(), c.head
	for i := range c.users {
		c.shared = c.shared || us[i].Writers == chat.AudienceShared
		if c.policy[i], err = l.writePolicy(ctx, us[i], us[1-i]); err != nil {
			return err
		}
	}
	return nil
}

// writePolicy decides whether from may write to the direct chat with to.
func (l *ledger) writePolicy(ctx context.Context, from, to *account) (*Refusal, error) {
	if !from.active() || !to.active() || to.hasBlocked(from.ID) {
		return refuseNotAllowed, nil
	}
	ok, err := l.e.audienceAllows(ctx, to.Writers, to.ID, from.ID)
	if err != nil || ok {
		return nil, err
	}
	return refuseNotAllowed, nil
}

// lruList orders the chats of a ledger by their last use. It is intrusive: a chat
// is in one list at most.
type lruList struct{ newest, oldest *ledgerChat }

func (l *lruList) push(c *ledgerChat) {
	c.older, c.newer = l.newest, nil
	if l.newest != nil {
		l.newest.newer = c
	}
	l.newest = c
	if l.oldest == nil {
		l.oldest = c
	}
}

func (l *lruList) remove(c *ledgerChat) {
	if c.newer != nil {
		c.newer.older = c.older
	} else {
		l.newest = c.older
	}
	if c.older != nil {
		c.older.newer = c.newer
	} else {
		l.oldest = c.newer
	}
	c.newer, c.older = nil, nil
}

func (l *lruList) touch(c *ledgerChat) {
	if l.newest != c {
		l.remove(c)
		l.push(c)
	}
}
