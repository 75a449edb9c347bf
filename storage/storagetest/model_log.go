package storagetest

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"slices"

	"tidings/chat"
	"tidings/storage"
)

// modelLog is one chat.
type modelLog struct {
	id        chat.ID
	entries   []chat.Message // ascending; forgotten ones are missing
	floor     uint64
	retention string
	members   map[chat.UserID]*chat.Member
}

func (l *modelLog) head() (seq uint64, time int64) {
	if n := len(l.entries); n > 0 {
		return l.entries[n-1].Seq, l.entries[n-1].Time
	}
	return 0, 0
}

func (l *modelLog) info() storage.ChatInfo {
	seq, time := l.head()
	return storage.ChatInfo{ID: l.id, Head: seq, HeadTime: time, Floor: l.floor, Retention: l.retention}
}

func (m *Model) log(id chat.ID) *modelLog {
	l := m.logs[id]
	if l == nil {
		l = &modelLog{id: id, members: map[chat.UserID]*chat.Member{}}
		m.logs[id] = l
	}
	return l
}

// cloneMessage copies all that a message refers to.
func cloneMessage(m chat.Message) chat.Message {
	m.CID, m.Re, m.Mentions, m.Body = bytes.Clone(m.CID), bytes.Clone(m.Re), bytes.Clone(m.Mentions), bytes.Clone(m.Body)
	return m
}

func cloneMember(m chat.Member) chat.Member {
	m.Intervals = slices.Clone(m.Intervals)
	return m
}

// Append implements storage.Log.
func (m *Model) Append(ctx context.Context, b *storage.Batch) error {
	end, err := m.begin(ctx)
	defer end()
	if err != nil {
		return err
	}
	moved := map[chat.ID]bool{} // decided by the head before the batch
	for i := range b.Entries {
		e := &b.Entries[i]
		l := m.log(e.Message.Chat)
		if e.Probe {
			if !l.repeats(e) {
				e.Result = storage.Result{Outcome: storage.Absent}
			}
			continue
		}
		head, _ := l.head()
		if _, seen := moved[l.id]; !seen {
			moved[l.id] = head != e.After
		}
		if moved[l.id] {
			e.Result = storage.Result{Outcome: storage.Moved, Seq: head}
			continue
		}
		m.appendEntry(l, e)
	}
	for _, a := range b.Advances {
		m.advance(a)
	}
	for _, r := range b.Retained {
		if delete(m.retained, r.Topic); len(r.Body) > 0 {
			m.retained[r.Topic] = bytes.Clone(r.Body)
		}
	}
	return nil
}

// repeats tells whether the cid of an entry was used, and sets its result if so.
func (l *modelLog) repeats(e *storage.Entry) bool {
	for _, old := range l.entries {
		if len(e.Message.CID) > 0 && old.From == e.Message.From && bytes.Equal(old.CID, e.Message.CID) {
			e.Result = storage.Result{Outcome: storage.Duplicate, Seq: old.Seq, ID: old.ID, Time: old.Time}
			if old.ContentDigest() != e.Message.ContentDigest() {
				e.Result.Outcome = storage.Mismatch
			}
			return true
		}
	}
	return false
}

func (m *Model) appendEntry(l *modelLog, e *storage.Entry) {
	if l.repeats(e) {
		return
	}
	head, _ := l.head()
	e.Message.Seq = head + 1
	e.Result = storage.Result{Outcome: storage.Stored, Seq: head + 1, ID: e.Message.ID, Time: e.Message.Time}
	l.entries = append(l.entries, cloneMessage(e.Message))
	for _, u := range l.id.Users() {
		m.enlist(u, l.id)
	}
	for _, change := range e.Members {
		m.changeMember(l, change, e.Message.Seq)
	}
}

func (m *Model) enlist(user chat.UserID, id chat.ID) {
	if m.inboxes[user] == nil {
		m.inboxes[user] = map[chat.ID]bool{}
	}
	m.inboxes[user][id] = true
}

func (m *Model) changeMember(l *modelLog, change storage.MemberChange, seq uint64) {
	row := l.members[change.User]
	in := row != nil && row.Role != chat.RoleNone
	switch {
	case change.Role == chat.RoleNone && in:
		row.Role = chat.RoleNone
		row.Intervals[len(row.Intervals)-1].To = seq
	case change.Role == chat.RoleNone:
	case in:
		row.Role = change.Role
	default:
		if row == nil {
			row = &chat.Member{User: change.User}
			l.members[change.User] = row
			m.enlist(change.User, l.id)
		}
		row.Role = change.Role
		if change.History {
			row.Intervals = []chat.Interval{{From: 1}}
		} else {
			row.Intervals = append(row.Intervals, chat.Interval{From: seq})
		}
	}
}

// ListRetained implements storage.OpenTopics.
func (m *Model) ListRetained(ctx context.Context, after string, limit int) ([]storage.Retained, error) {
	end, err := m.begin(ctx)
	defer end()
	if err != nil {
		return nil, err
	}
	var rs []storage.Retained
	for _, topic := range slices.Sorted(maps.Keys(m.retained)) {
		if topic > after && len(rs) < limit {
			rs = append(rs, storage.Retained{Topic: topic, Body: bytes.Clone(m.retained[topic])})
		}
	}
	return rs, nil
}

// Chats implements storage.Log.
func (m *Model) Chats(ctx context.Context, ids []chat.ID) ([]storage.ChatInfo, error) {
	end, err := m.begin(ctx)
	defer end()
	if err != nil {
		return nil, err
	}
	infos := make([]storage.ChatInfo, len(ids))
	for i, id := range ids {
		infos[i] = m.log(id).info()
	}
	return infos, nil
}

// SetRetention implements storage.Log.
func (m *Model) SetRetention(ctx context.Context, id chat.ID, policy string) error {
	end, err := m.begin(ctx)
	defer end()
	if err != nil {
		return err
	}
	m.log(id).retention = policy
	return nil
}

// ListChats implements storage.Log.
func (m *Model) ListChats(ctx context.Context, after chat.ID, limit int) ([]storage.ChatInfo, error) {
	end, err := m.begin(ctx)
	defer end()
	if err != nil {
		return nil, err
	}
	var infos []storage.ChatInfo
	for _, id := range sortedChats(maps.Keys(m.logs)) {
		if after.Less(id) && len(m.log(id).entries) > 0 && len(infos) < limit {
			infos = append(infos, m.log(id).info())
		}
	}
	return infos, nil
}

// Members implements storage.Log.
func (m *Model) Members(ctx context.Context, id chat.ID) ([]chat.Member, uint64, error) {
	end, err := m.begin(ctx)
	defer end()
	if err != nil {
		return nil, 0, err
	}
	l := m.log(id)
	var members []chat.Member
	for _, user := range slices.Sorted(maps.Keys(l.members)) {
		members = append(members, cloneMember(*l.members[user]))
	}
	head, _ := l.head()
	return members, head, nil
}

// Read implements storage.Log.
func (m *Model) Read(ctx context.Context, r storage.Range) ([]chat.Message, error) {
	end, err := m.begin(ctx)
	defer end()
	if err != nil {
		return nil, err
	}
	if r.Limit <= 0 {
		r.Limit = 1000
	}
	if r.Bytes <= 0 {
		r.Bytes = 1 << 20
	}
	entries := slices.Clone(m.log(r.Chat).entries)
	if r.Reverse {
		slices.Reverse(entries)
	}
	var messages []chat.Message
	size := 0
	for _, e := range entries {
		if e.Seq >= r.From && (r.To == 0 || e.Seq <= r.To) && len(messages) < r.Limit && size <= r.Bytes {
			messages = append(messages, cloneMessage(e))
			size += len(e.Body)
		}
	}
	return messages, nil
}

// Trim implements storage.Log.
func (m *Model) Trim(ctx context.Context, t storage.Trim) error {
	end, err := m.begin(ctx)
	defer end()
	if err != nil {
		return err
	}
	l := m.log(t.Chat)
	head, _ := l.head()
	l.entries = slices.DeleteFunc(l.entries, func(e chat.Message) bool { return e.Seq <= t.Forget && e.Seq != head })
	for i := range l.entries {
		if e := &l.entries[i]; slices.Contains(t.Strip, e.Seq) && !e.Stub {
			e.Digest = e.ContentDigest()
			e.Stub, e.Body, e.Re, e.Mentions = true, nil, nil, nil
		}
	}
	l.floor = max(l.floor, t.Floor)
	return nil
}

// Expired implements storage.Log.
func (m *Model) Expired(ctx context.Context, nowMS int64, limit int) ([]storage.Position, error) {
	end, err := m.begin(ctx)
	defer end()
	if err != nil {
		return nil, err
	}
	var due []chat.Message
	for _, l := range m.logs {
		for _, e := range l.entries {
			if !e.Stub && e.Expires != 0 && e.Expires <= nowMS {
				due = append(due, e)
			}
		}
	}
	slices.SortFunc(due, func(a, b chat.Message) int {
		return cmp.Or(cmp.Compare(a.Expires, b.Expires), compareChats(a.Chat, b.Chat), cmp.Compare(a.Seq, b.Seq))
	})
	var ps []storage.Position
	for _, e := range due[:min(limit, len(due))] {
		ps = append(ps, storage.Position{Chat: e.Chat, Seq: e.Seq})
	}
	return ps, nil
}

func compareChats(a, b chat.ID) int {
	return cmp.Or(cmp.Compare(a.Hi, b.Hi), cmp.Compare(a.Lo, b.Lo))
}

func sortedChats(ids func(func(chat.ID) bool)) []chat.ID {
	return slices.SortedFunc(ids, compareChats)
}

// Inbox implements storage.Inboxes.
func (m *Model) Inbox(
	ctx context.Context, user chat.UserID, device chat.DeviceID, after chat.ID, limit int,
) ([]storage.Tail, error) {
	end, err := m.begin(ctx)
	defer end()
	if err != nil {
		return nil, err
	}
	var tails []storage.Tail
	for _, id := range sortedChats(maps.Keys(m.inboxes[user])) {
		if !after.Less(id) || len(tails) >= limit {
			continue
		}
		mark := m.marks[modelMark{id, user}]
		t := storage.Tail{Chat: id, Delivered: mark.Delivered, Read: mark.Read}
		t.Head, t.HeadTime = m.log(id).head()
		if device != 0 {
			t.Cursor = m.cursors[modelCursor{id, user, device}]
		}
		if row := m.log(id).members[user]; row != nil {
			t.Member = cloneMember(*row)
		}
		tails = append(tails, t)
	}
	return tails, nil
}

// Advance implements storage.Inboxes.
func (m *Model) Advance(ctx context.Context, as []storage.Advance) error {
	end, err := m.begin(ctx)
	defer end()
	if err != nil {
		return err
	}
	for _, a := range as {
		m.advance(a)
	}
	return nil
}

func (m *Model) advance(a storage.Advance) {
	of := modelMark{a.Chat, a.User}
	mark := m.marks[of]
	m.marks[of] = chat.Watermark{
		User: a.User, Delivered: max(mark.Delivered, a.Delivered), Read: max(mark.Read, a.Read),
	}
	if a.Device != 0 {
		c := modelCursor{a.Chat, a.User, a.Device}
		m.cursors[c] = max(m.cursors[c], a.Cursor)
	}
}

// Watermarks implements storage.Inboxes.
func (m *Model) Watermarks(ctx context.Context, id chat.ID, users []chat.UserID) ([]chat.Watermark, error) {
	end, err := m.begin(ctx)
	defer end()
	if err != nil {
		return nil, err
	}
	marks := make([]chat.Watermark, len(users))
	for i, u := range users {
		marks[i] = m.marks[modelMark{id, u}]
		marks[i].User = u
	}
	return marks, nil
}

// Cursors implements storage.Inboxes.
func (m *Model) Cursors(
	ctx context.Context, id chat.ID, user chat.UserID, devices []chat.DeviceID,
) ([]uint64, error) {
	end, err := m.begin(ctx)
	defer end()
	if err != nil {
		return nil, err
	}
	cursors := make([]uint64, len(devices))
	for i, d := range devices {
		cursors[i] = m.cursors[modelCursor{id, user, d}]
	}
	return cursors, nil
}
