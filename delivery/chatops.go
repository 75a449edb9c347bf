package delivery

import (
	"context"
	"slices"

	"tidings/chat"
	"tidings/hooks"
	"tidings/storage"
	"tidings/topics"
)

// Limits of the answers of ListChats and History.
const (
	MaxChatsPage   = 200
	MaxHistoryPage = 500
	historyBytes   = 192 << 10 // an answer fits a packet that clients take
	unreadUpTo     = 1000      // a larger number of unread messages is told as this
)

var refuseNoChat = &Refusal{Code: CodeNotAllowed, Message: "there is no such chat of yours"}

// ChatView is a chat as one of its members sees it in his list.
type ChatView struct {
	Chat      string // topic
	Title     string
	Head      uint64
	Floor     uint64
	Unread    int // messages of others behind the read watermark, at most unreadUpTo
	Delivered uint64
	Read      uint64
	Peer      *chat.Watermark // the other user's marks in a direct chat
	Retention string
	Time      int64  // of the last entry, Unix milliseconds
	Last      []byte // envelope of the last entry that the member may see, nil if there is none
}

// ListChats returns a user's chats, the most recent first, starting with those
// whose last entry is older than beforeMS (zero: the newest), up to limit.
func (e *Engine) ListChats(ctx context.Context, a hooks.Actor, beforeMS int64, limit int) ([]ChatView, error) {
	var all []storage.Tail
	err := e.eachTail(ctx, a.User, 0, func(tails []storage.Tail) error {
		for _, t := range tails {
			if t.Head > 0 && t.Chat.Kind() != chat.KindEvents && (beforeMS == 0 || t.HeadTime < beforeMS) {
				all = append(all, t)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(x, y storage.Tail) int { return int(y.HeadTime - x.HeadTime) })
	if limit <= 0 || limit > MaxChatsPage {
		limit = MaxChatsPage
	}
	views := []ChatView{}
	for _, t := range all[:min(limit, len(all))] {
		v, err := e.view(ctx, a, &t)
		if err != nil {
			return nil, err
		}
		views = append(views, v)
	}
	return views, nil
}

// view describes one chat.
func (e *Engine) view(ctx context.Context, a hooks.Actor, t *storage.Tail) (ChatView, error) {
	infos, err := e.store.Chats(ctx, []chat.ID{t.Chat})
	if err != nil {
		return ChatView{}, err
	}
	v := ChatView{
		Head: t.Head, Floor: max(infos[0].Floor, 1), Delivered: t.Delivered, Read: t.Read,
		Retention: infos[0].Retention, Time: t.HeadTime,
	}
	if v.Chat, v.Title, err = e.nameChat(ctx, a.User, t.Chat); err != nil {
		return v, err
	}
	if p := t.Chat.Peer(a.User); p != 0 && p != a.User {
		ws, err := e.visibleMarks(ctx, t.Chat, a.User, []chat.UserID{p})
		if err != nil {
			return v, err
		}
		v.Peer = &ws[0]
	}
	if v.Unread, err = e.unread(ctx, a.User, t); err != nil {
		return v, err
	}
	v.Last, err = e.lastEnvelope(ctx, v.Chat, t)
	return v, err
}

// nameChat returns the topic of a chat as a user sees it, and its title.
func (e *Engine) nameChat(ctx context.Context, u chat.UserID, id chat.ID) (topic, title string, err error) {
	if g := id.Group(); g != 0 {
		gs, err := e.groups.withIDs(ctx, []chat.GroupID{g})
		if err != nil || gs[0] == nil {
			return "", "", err
		}
		return gs[0].topic, gs[0].Title, nil
	}
	peer := id.Peer(u)
	if peer == 0 {
		peer = u
	}
	us, err := e.accounts.withIDs(ctx, []chat.UserID{peer})
	if err != nil || us[0] == nil {
		return "", "", err
	}
	if id.Kind() == chat.KindEvents {
		return us[0].topic + "/events", "", nil
	}
	return us[0].topic, us[0].Title, nil
}

// visibleMarks returns the marks of users in a chat as one member may see them.
func (e *Engine) visibleMarks(ctx context.Context, id chat.ID, by chat.UserID, users []chat.UserID) ([]chat.Watermark, error) {
	ws, err := e.store.Watermarks(ctx, id, users)
	if err != nil {
		return nil, err
	}
	us, err := e.accounts.withIDs(ctx, append([]chat.UserID{by}, users...))
	if err != nil {
		return nil, err
	}
	for i, u := range us[1:] {
		switch {
		case u == nil || us[0] == nil || u.ID == by:
		case u.hasBlocked(by) || us[0].hasBlocked(u.ID):
			ws[i].Delivered, ws[i].Read = 0, 0
		case u.NoReadReceipts || us[0].NoReadReceipts:
			ws[i].Read = 0
		}
	}
	return ws, nil
}

// unread counts the messages of others behind a user's read watermark.
func (e *Engine) unread(ctx context.Context, u chat.UserID, t *storage.Tail) (int, error) {
	n, from := 0, t.Read+1
	for from <= t.Head && n < unreadUpTo {
		msgs, err := e.store.Read(ctx, storage.Range{Chat: t.Chat, From: from, Limit: unreadUpTo})
		if err != nil || len(msgs) == 0 {
			return n, err
		}
		for i := range msgs {
			m := &msgs[i]
			if m.From != u && !m.Stub && !expired(m) && !chat.IsSystem(m.Type) && sees(t, m.Seq) {
				n++
			}
		}
		from = msgs[len(msgs)-1].Seq + 1
	}
	return min(n, unreadUpTo), nil
}

// sees tells whether the user of a tail may see an entry of it.
func sees(t *storage.Tail, seq uint64) bool {
	return t.Chat.Kind() != chat.KindGroup || t.Member.Sees(seq)
}

// lastSeen is how far back the last visible entry is looked for.
const lastWithin = 50

func (e *Engine) lastEnvelope(ctx context.Context, topic string, t *storage.Tail) ([]byte, error) {
	to := t.Head
	if ivs := t.Member.Intervals; t.Chat.Kind() == chat.KindGroup && len(ivs) > 0 && ivs[len(ivs)-1].To != 0 {
		to = ivs[len(ivs)-1].To
	}
	msgs, err := e.store.Read(ctx, storage.Range{Chat: t.Chat, To: to, Limit: lastWithin, Reverse: true})
	if err != nil {
		return nil, err
	}
	for i := range msgs {
		if sees(t, msgs[i].Seq) {
			return e.envelope(ctx, &msgs[i], topic)
		}
	}
	return nil, nil
}

func (e *Engine) envelope(ctx context.Context, m *chat.Message, topic string) ([]byte, error) {
	from, err := e.senders(ctx, []chat.Message{*m})
	if err != nil {
		return nil, err
	}
	hideExpired(m)
	return chat.AppendEnvelope(nil, m, chat.View{Chat: topic, From: from[0].from, Device: from[0].device}), nil
}

// chatNamed finds a chat of a user by its topic as he sees it: u/{user}, g/{group}
// or u/{me}/events.
func (e *Engine) chatNamed(ctx context.Context, a hooks.Actor, topic string) (chat.ID, error) {
	t := topics.Parse(topic)
	switch t.Kind {
	case topics.User:
		us, err := e.accounts.named(ctx, []string{t.Name})
		if err != nil {
			return chat.ID{}, err
		}
		if us[0] == nil {
			return chat.ID{}, refuseNoChat
		}
		return chat.DirectChat(a.User, us[0].ID), nil
	case topics.Group:
		gs, err := e.groups.named(ctx, []string{t.Name})
		if err != nil {
			return chat.ID{}, err
		}
		if gs[0] == nil {
			return chat.ID{}, refuseNoChat
		}
		return chat.GroupChat(gs[0].ID), nil
	case topics.Events:
		if t.Name == a.UserName {
			return chat.EventsChat(a.User), nil
		}
	}
	return chat.ID{}, refuseNoChat
}

// myChat returns one chat of a user as he sees it; in a group he is or was a
// member.
func (e *Engine) myChat(ctx context.Context, a hooks.Actor, topic string) (storage.Tail, error) {
	id, err := e.chatNamed(ctx, a, topic)
	if err != nil {
		return storage.Tail{}, err
	}
	t, err := e.tail(ctx, a.User, 0, id)
	if err != nil {
		return storage.Tail{}, err
	}
	if id.Kind() == chat.KindGroup && len(t.Member.Intervals) == 0 {
		return storage.Tail{}, refuseNoChat
	}
	return t, nil
}

// HistoryPage is a part of a chat's log.
type HistoryPage struct {
	Head, Floor uint64
	Messages    [][]byte // envelopes in ascending order of seq; what retention has removed comes as stub
	More        bool     // there are entries beyond this page, in the direction asked for
}

// History returns entries that a user may see of a chat: those behind after, the
// oldest first found, or those in front of before (zero: behind the head), the
// latest first found; in ascending order either way.
func (e *Engine) History(ctx context.Context, a hooks.Actor, topic string, before, after uint64, limit int) (HistoryPage, error) {
	t, err := e.myChat(ctx, a, topic)
	if err != nil {
		return HistoryPage{}, err
	}
	infos, err := e.store.Chats(ctx, []chat.ID{t.Chat})
	if err != nil {
		return HistoryPage{}, err
	}
	page := HistoryPage{Head: t.Head, Floor: max(infos[0].Floor, 1), Messages: [][]byte{}}
	if limit <= 0 || limit > MaxHistoryPage {
		limit = min(max(limit, 50), MaxHistoryPage)
	}
	r := storage.Range{Chat: t.Chat, Limit: limit, Bytes: historyBytes}
	if after > 0 {
		r.From = after + 1
		if before > 0 {
			r.To = before - 1
		}
	} else if r.Reverse = true; before > 0 {
		r.To = before - 1
	}
	if r.From > t.Head || before == 1 || t.Head == 0 {
		return page, nil
	}
	msgs, err := e.visible(ctx, &t, r)
	if err != nil {
		return page, err
	}
	if page.More = msgs.more; r.Reverse {
		slices.Reverse(msgs.list)
	}
	from, err := e.senders(ctx, msgs.list)
	if err != nil {
		return page, err
	}
	for i := range msgs.list {
		v := chat.View{Chat: topic, From: from[i].from, Device: from[i].device}
		page.Messages = append(page.Messages, chat.AppendEnvelope(nil, &msgs.list[i], v))
	}
	return page, nil
}

// hideExpired makes a message whose ttl has ended look as it will when the sweep,
// which may be a while, has removed its content.
func hideExpired(m *chat.Message) {
	if !m.Stub && expired(m) {
		m.Digest = m.ContentDigest()
		m.Stub, m.Body, m.Re, m.Mentions = true, nil, nil, nil
	}
}

// found is entries of a range and whether it goes on.
type found struct {
	list []chat.Message
	more bool
}

// visible reads a range until it has as many entries that the user of a tail may
// see as were asked for.
func (e *Engine) visible(ctx context.Context, t *storage.Tail, r storage.Range) (found, error) {
	var f found
	want := r.Limit
	for {
		msgs, err := e.store.Read(ctx, r)
		if err != nil || len(msgs) == 0 {
			return f, err
		}
		for i := range msgs {
			if sees(t, msgs[i].Seq) {
				if len(f.list) == want {
					f.more = true
					return f, nil
				}
				hideExpired(&msgs[i])
				f.list = append(f.list, msgs[i])
			}
		}
		last := msgs[len(msgs)-1].Seq
		switch {
		case r.Reverse && last == 1, !r.Reverse && (last >= t.Head || r.To != 0 && last >= r.To):
			return f, nil
		case r.Reverse:
			r.To = last - 1
		default:
			r.From = last + 1
		}
		if len(f.list) > 0 && (len(f.list) == want || size(f.list) >= historyBytes) {
			f.more = e.anyVisible(t, r)
			return f, nil
		}
	}
}

// anyVisible tells whether a user may see anything of what is left of a range.
func (e *Engine) anyVisible(t *storage.Tail, r storage.Range) bool {
	if t.Chat.Kind() != chat.KindGroup {
		return true
	}
	from, to := max(r.From, 1), r.To
	if to == 0 {
		to = t.Head
	}
	for _, iv := range t.Member.Intervals {
		if iv.From <= to && (iv.To == 0 || iv.To >= from) {
			return true
		}
	}
	return false
}

func size(msgs []chat.Message) int {
	n := 0
	for i := range msgs {
		n += len(msgs[i].Body)
	}
	return n
}

// SetRetention changes the retention policy of a chat: in a direct chat either
// user may, in a group its owners and admins.
func (e *Engine) SetRetention(ctx context.Context, a hooks.Actor, topic, policy string) error {
	if t := topics.Parse(topic); t.Kind == topics.Group {
		_, err := e.UpdateGroup(ctx, a, t.Name, GroupChange{Retention: &policy})
		return err
	}
	t, err := e.myChat(ctx, a, topic)
	if err != nil {
		return err
	}
	if policy != "" {
		if _, err := parseRetention(policy); err != nil {
			return malformed(err.Error())
		}
	}
	return e.store.SetRetention(ctx, t.Chat, policy)
}

// MemberMark is how far one member is in a chat.
type MemberMark struct {
	User            string
	Delivered, Read uint64
}

// Receipts returns the watermarks of the members of a chat, as far as the asking
// member may see them.
func (e *Engine) Receipts(ctx context.Context, a hooks.Actor, topic string) ([]MemberMark, error) {
	t, err := e.myChat(ctx, a, topic)
	if err != nil {
		return nil, err
	}
	users := t.Chat.Users()
	if t.Chat.Kind() == chat.KindGroup {
		if t.Member.Role == chat.RoleNone {
			return nil, refuseNoChat
		}
		rows, _, err := e.store.Members(ctx, t.Chat)
		if err != nil {
			return nil, err
		}
		for _, m := range rows {
			if m.Role != chat.RoleNone {
				users = append(users, m.User)
			}
		}
	}
	ws, err := e.visibleMarks(ctx, t.Chat, a.User, users)
	if err != nil {
		return nil, err
	}
	us, err := e.accounts.withIDs(ctx, users)
	if err != nil {
		return nil, err
	}
	out := []MemberMark{}
	for i, u := range us {
		if u != nil {
			out = append(out, MemberMark{u.Name, ws[i].Delivered, ws[i].Read})
		}
	}
	return out, nil
}
