package delivery

import (
	"context"
	"slices"

	"tidings/chat"
	"tidings/storage"
)

// load reads the chats of the session's user and their heads, and puts those
// with waiting entries in line, most recent first.
func (w *puller) load(ctx context.Context, s *Session) error {
	var after chat.ID
	for {
		tails, err := w.e.store.Inbox(ctx, s.user(), s.device(), after, loadPage)
		if err != nil {
			return err
		}
		if len(tails) == 0 {
			break
		}
		after = tails[len(tails)-1].Chat
		slices.SortFunc(tails, func(a, b storage.Tail) int { return int(b.HeadTime - a.HeadTime) })
		if err := w.line(ctx, s, tails); err != nil {
			return err
		}
		if len(tails) < loadPage {
			break
		}
	}
	s.mu.Lock()
	queue := s.open != nil && s.open.durable
	s.mu.Unlock()
	if !queue {
		return nil
	}
	t, err := w.e.queueTail(ctx, s)
	if err != nil {
		return err
	}
	if t.Head > t.Cursor {
		if err := s.beginFeeding(ctx); err != nil {
			return err
		}
	}
	return w.line(ctx, s, []storage.Tail{t})
}

// line puts the chats of one page in line, groups behind joining their rooms.
func (w *puller) line(ctx context.Context, s *Session, tails []storage.Tail) error {
	names := make([]string, len(tails))
	for i := range tails {
		g := tails[i].Chat.Group()
		if g == 0 {
			continue
		}
		gs, err := w.e.groups.withIDs(ctx, []chat.GroupID{g})
		if err != nil {
			return err
		}
		if gs[0] != nil {
			names[i] = gs[0].Name
		}
	}
	if err := w.join(ctx, s, tails); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range tails {
		s.tailLocked(&tails[i], names[i])
	}
	return nil
}

// join lists the session in the rooms of those groups whose next entry its user is
// to get. A room is joined first and the tail read second: what was routed before
// is in the log by then, and a removal for which the router did not find the
// session in the room is in the member row.
//
// A row may know more than the head that comes with it, so its intervals decide
// and not its role: a removal or an addition behind the head is still to be
// routed, which ends or begins the session's stay.
func (w *puller) join(ctx context.Context, s *Session, tails []storage.Tail) error {
	var joined []*storage.Tail
	for i := range tails {
		if t := &tails[i]; seesNext(t) && w.e.rooms.join(t.Chat, s) {
			joined = append(joined, t)
		}
	}
	for len(joined) > 0 {
		if err := w.reread(ctx, s, joined); err != nil {
			return err
		}
		joined = slices.DeleteFunc(joined, seesNext)
		for _, t := range joined {
			w.e.rooms.leave(t.Chat, s)
		}
		if err := w.reread(ctx, s, joined); err != nil {
			return err
		}
		joined = slices.DeleteFunc(joined, func(t *storage.Tail) bool { // may have been added again meanwhile
			return !seesNext(t) || !w.e.rooms.join(t.Chat, s)
		})
	}
	return nil
}

// seesNext tells whether the member of a group is to get the entry behind the
// head.
func seesNext(t *storage.Tail) bool { return t.Member.Sees(t.Head + 1) }

// reread reads tails again, with one call where they are of one page.
func (w *puller) reread(ctx context.Context, s *Session, tails []*storage.Tail) error {
	if len(tails) == 0 {
		return nil
	}
	first := tails[0].Chat
	for _, t := range tails[1:] {
		if t.Chat.Less(first) {
			first = t.Chat
		}
	}
	page, err := w.e.store.Inbox(ctx, s.user(), s.device(), before(first), loadPage)
	if err != nil {
		return err
	}
	found := make(map[chat.ID]*storage.Tail, len(page))
	for i := range page {
		found[page[i].Chat] = &page[i]
	}
	for _, t := range tails {
		again := found[t.Chat]
		if again == nil { // beyond the page
			one, err := w.e.tail(ctx, s.user(), s.device(), t.Chat)
			if err != nil {
				return err
			}
			again = &one
		}
		head := max(t.Head, again.Head)
		*t = *again
		t.Head = head
	}
	return nil
}

// tailLocked takes note of one chat of the inbox.
func (s *Session) tailLocked(t *storage.Tail, group string) {
	head := max(t.Head, s.wanted[t.Chat])
	delete(s.wanted, t.Chat)
	if s.ended || s.id.Guest || t.Chat.Kind() != chat.KindQueue && s.wantLocked(t.Chat, group) == nil {
		return
	}
	p := s.chats[t.Chat]
	if p == nil {
		cursor := min(t.Cursor, t.Head) // above the head only in a restored store
		if cursor >= head {
			return
		}
		p = s.positionLocked(t.Chat, cursor)
	}
	if s.aftercrash && p.dupTo == 0 {
		p.dupTo = t.Head
	}
	p.want = max(p.want, head)
	if p.want > p.sent && !p.behind {
		p.behind = true
		s.behind[p.class()].push(p)
	}
}

// tail returns where the session's device is in a chat or in its queue.
func (w *puller) tail(ctx context.Context, s *Session, id chat.ID) (storage.Tail, error) {
	if id.Kind() == chat.KindQueue {
		return w.e.queueTail(ctx, s)
	}
	return w.e.tail(ctx, s.user(), s.device(), id)
}

// finishLoad looks up the chats that were noted while the heads were being read
// and were not among them, until there are none, and lets live entries through.
func (w *puller) finishLoad(ctx context.Context, s *Session) error {
	for {
		s.mu.Lock()
		var missing []chat.ID
		for id := range s.wanted {
			missing = append(missing, id)
		}
		if s.load || s.ended { // subscribed again meanwhile; or to be kept as it is
			s.mu.Unlock()
			return nil
		}
		if len(missing) == 0 {
			s.loading = false
			s.wanted = nil
			s.mu.Unlock()
			return nil
		}
		s.mu.Unlock()
		for _, id := range missing {
			t, err := w.tail(ctx, s, id)
			if err != nil {
				return err
			}
			// What is stored behind the last entry offered will be offered yet: if it
			// were read now, it could come twice.
			s.mu.Lock()
			t.Head = min(t.Head, s.wanted[id])
			s.mu.Unlock()
			if err := w.line(ctx, s, []storage.Tail{t}); err != nil {
				return err
			}
		}
	}
}
