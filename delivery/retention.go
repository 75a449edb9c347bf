package delivery

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"tidings/chat"
	"tidings/storage"
)

// Retention removes content, never facts: what it ends becomes a stub, which says
// that and by whom something was sent, keeps its cid and the digest of its
// content, and goes itself when no retry can ask for it any more. The last entry
// of a chat stays for ever, so that its seqs go on.

const (
	retentionForever   = "forever"
	retentionDelivered = "delivered"

	deliveredAtMost = 30 * 24 * time.Hour // what nobody fetches goes after that
	deliveredUpTo   = 256                 // members; in larger groups "delivered" is deliveredAtMost
	stubWithCID     = 7 * 24 * time.Hour
	stubWithout     = 24 * time.Hour
)

// policy is a parsed retention policy.
type policy struct {
	forever   bool
	delivered bool
	age       time.Duration
}

// errRetention says what a retention policy looks like.
var errRetention = errors.New(`a retention policy is "forever", "delivered" or a duration such as "30d"`)

// parseRetention reads "forever", "delivered" or a duration: Go's, or days as in
// "30d" and "1d12h", of at least a second.
func parseRetention(s string) (policy, error) {
	switch s {
	case retentionForever:
		return policy{forever: true}, nil
	case retentionDelivered:
		return policy{delivered: true, age: deliveredAtMost}, nil
	}
	age, err := parseDays(s)
	if err != nil || age < time.Second {
		return policy{}, fmt.Errorf("%w, not %q", errRetention, s)
	}
	return policy{age: age}, nil
}

func parseDays(s string) (time.Duration, error) {
	for i := range len(s) {
		if s[i] == 'd' {
			days, err := strconv.ParseUint(s[:i], 10, 16)
			if err != nil {
				return 0, err
			}
			d := time.Duration(days) * 24 * time.Hour
			if i+1 == len(s) {
				return d, nil
			}
			rest, err := time.ParseDuration(s[i+1:])
			return d + rest, err
		}
	}
	return time.ParseDuration(s)
}

// sweeper applies retention behind everything else, a range of one chat at a
// time.
type sweeper struct {
	e     *Engine
	sweep chan chan error // asks for a sweep now
}

// How much a sweeper does in one step, and the pause after it.
const (
	sweepEntries = 500
	sweepPause   = 2 * time.Millisecond
)

func newSweeper(e *Engine) *sweeper { return &sweeper{e: e, sweep: make(chan chan error)} }

// run sweeps every interval, and when asked, until ctx ends.
func (w *sweeper) run(ctx context.Context) {
	tick := time.NewTicker(w.e.cfg.SweepInterval)
	defer tick.Stop()
	for {
		var asked chan error
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case asked = <-w.sweep:
		}
		err := w.all(ctx)
		if err != nil && ctx.Err() == nil {
			w.e.log.Error("retention could not be applied; trying again later", "err", err)
		}
		if asked != nil {
			asked <- err
		}
	}
}

// Sweep applies retention now and returns when that is done.
func (e *Engine) Sweep(ctx context.Context) error {
	done := make(chan error, 1)
	select {
	case e.sweeper.sweep <- done:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (w *sweeper) all(ctx context.Context) error {
	if err := w.expired(ctx); err != nil {
		return err
	}
	w.e.open.expire(ctx, time.Now())
	var after chat.ID
	var first error
	for {
		chats, err := w.e.store.ListChats(ctx, after, sweepEntries)
		if err != nil || len(chats) == 0 {
			return errors.Join(first, err)
		}
		for _, c := range chats {
			after = c.ID
			if c.ID.Kind() == chat.KindQueue { // emptied by acknowledgements and its limit
				continue
			}
			// One chat that cannot be read must not keep the content of the others.
			if err := w.chat(ctx, c); ctx.Err() != nil {
				return ctx.Err()
			} else if err != nil && first == nil {
				first = fmt.Errorf("sweep %v: %w", c.ID, err)
			}
		}
	}
}

// expired ends messages whose ttl has passed.
func (w *sweeper) expired(ctx context.Context) error {
	for {
		ps, err := w.e.store.Expired(ctx, time.Now().UnixMilli(), sweepEntries)
		if err != nil || len(ps) == 0 {
			return err
		}
		by := make(map[chat.ID][]uint64)
		for _, p := range ps {
			by[p.Chat] = append(by[p.Chat], p.Seq)
		}
		for id, seqs := range by {
			if err := w.trim(ctx, storage.Trim{Chat: id, Strip: seqs}); err != nil {
				return err
			}
		}
	}
}

func (w *sweeper) trim(ctx context.Context, t storage.Trim) error {
	if err := w.e.store.Trim(ctx, t); err != nil {
		return err
	}
	w.e.stats.Swept.Add(uint64(len(t.Strip)))
	pause := time.NewTimer(sweepPause)
	defer pause.Stop()
	select {
	case <-pause.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// chat applies the policy of one chat from its floor on, and lets old stubs go.
func (w *sweeper) chat(ctx context.Context, c storage.ChatInfo) error {
	name := c.Retention
	if name == "" {
		name = w.e.cfg.Retention
	}
	p, err := parseRetention(name)
	if err != nil {
		w.e.log.Error("a chat has an unknown retention policy; nothing is removed from it", "chat", c.ID.String())
		return nil
	}
	now := time.Now()
	if p.forever {
		return w.forget(ctx, c, now)
	}
	limit := now.Add(-p.age).UnixMilli()
	upTo := uint64(0)
	if p.delivered {
		if upTo, err = w.deliveredTo(ctx, c.ID); err != nil {
			return err
		}
	}
	floor := max(c.Floor, 1)
	for floor <= c.Head {
		msgs, err := w.e.store.Read(ctx, storage.Range{Chat: c.ID, From: floor, Limit: sweepEntries})
		if err != nil {
			return err
		}
		t := storage.Trim{Chat: c.ID}
		for i := range msgs {
			m := &msgs[i]
			if m.Time > limit && m.Seq > upTo {
				break
			}
			t.Floor = m.Seq + 1
			if !m.Stub {
				t.Strip = append(t.Strip, m.Seq)
			}
		}
		if t.Floor == 0 {
			break
		}
		if err := w.trim(ctx, t); err != nil {
			return err
		}
		floor = t.Floor
	}
	c.Floor = floor
	return w.forget(ctx, c, now)
}

// forget lets the stubs below the floor go that no retry can ask for any more.
func (w *sweeper) forget(ctx context.Context, c storage.ChatInfo, now time.Time) error {
	if c.Floor <= 1 {
		return nil
	}
	withCID, without := now.Add(-stubWithCID).UnixMilli(), now.Add(-stubWithout).UnixMilli()
	for {
		msgs, err := w.e.store.Read(ctx, storage.Range{Chat: c.ID, From: 1, To: c.Floor - 1, Limit: sweepEntries})
		if err != nil {
			return err
		}
		last := uint64(0)
		for i := range msgs {
			m := &msgs[i]
			if m.Seq == c.Head || m.Time > without || len(m.CID) > 0 && m.Time > withCID {
				break
			}
			last = m.Seq
		}
		if last == 0 {
			return nil
		}
		if err := w.trim(ctx, storage.Trim{Chat: c.ID, Forget: last}); err != nil {
			return err
		}
	}
}

// deliveredTo returns up to where every device of every member has a chat; zero
// where a member has no device with an inbox.
func (w *sweeper) deliveredTo(ctx context.Context, id chat.ID) (uint64, error) {
	users := id.Users()
	if id.Kind() == chat.KindGroup {
		rows, _, err := w.e.store.Members(ctx, id)
		if err != nil {
			return 0, err
		}
		for _, m := range rows {
			if m.Role != chat.RoleNone {
				users = append(users, m.User)
			}
		}
		if len(users) > deliveredUpTo {
			return 0, nil
		}
	}
	least := ^uint64(0)
	for _, u := range users {
		ds, err := w.e.store.DevicesOf(ctx, u)
		if err != nil {
			return 0, err
		}
		var inboxes []chat.DeviceID
		for _, d := range ds {
			if d.Inbox && !d.Revoked {
				inboxes = append(inboxes, d.ID)
			}
		}
		cursors, err := w.e.store.Cursors(ctx, id, u, inboxes)
		if err != nil {
			return 0, err
		}
		if len(cursors) == 0 {
			return 0, nil
		}
		for _, c := range cursors {
			least = min(least, c)
		}
	}
	if least == ^uint64(0) {
		return 0, nil
	}
	return least, nil
}
