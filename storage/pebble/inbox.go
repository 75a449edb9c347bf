package pebble

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"tidings/chat"
	"tidings/storage"
)

// Inbox implements storage.Inboxes: three scans side by side over the user's
// chats, marks and cursors, and a head for each chat.
func (s *Store) Inbox(
	ctx context.Context, user chat.UserID, device chat.DeviceID, after chat.ID, limit int,
) ([]storage.Tail, error) {
	if err := ctx.Err(); err != nil || limit <= 0 {
		return nil, err
	}
	snap := s.db.NewSnapshot()
	tails, err := s.inbox(snap, user, device, after, limit)
	if err = errors.Join(err, snap.Close()); err != nil {
		return nil, fmt.Errorf("inbox of user %d: %w", user, err)
	}
	return tails, nil
}

// inbox reads from one moment of the store, so that a member's intervals are
// never older than the head that comes with them.
func (s *Store) inbox(
	snap *pebble.Snapshot, user chat.UserID, device chat.DeviceID, above chat.ID, limit int,
) ([]storage.Tail, error) {
	rows := &follower{}
	marks := &follower{}
	cursors := &follower{}
	logs := &follower{}
	defer func() {
		for _, f := range []*follower{rows, marks, cursors, logs} {
			f.close()
		}
	}()
	err := errors.Join(
		rows.open(snap, key1(nil, tagInbox, uint64(user)), above),
		marks.open(snap, key1(nil, tagMarks, uint64(user)), above),
		logs.open(snap, []byte{tagMessage}, chat.ID{}),
	)
	if device != 0 {
		err = errors.Join(err, cursors.open(snap, key2(nil, tagCursor, uint64(user), uint64(device)), above))
	}
	if err != nil {
		return nil, err
	}
	var tails []storage.Tail
	for ok := rows.it.First(); ok && len(tails) < limit; ok = rows.it.Next() {
		t, err := s.tail(rows, user, logs.it)
		if err != nil {
			return nil, err
		}
		var buf [16]byte
		if value, err := marks.at(t.Chat, buf[:0]); err != nil {
			return nil, err
		} else if value != nil {
			if t.Delivered, t.Read, err = decodeMarks(marks.it.Key(), value); err != nil {
				return nil, err
			}
		}
		if value, err := cursors.at(t.Chat, buf[:0]); err != nil {
			return nil, err
		} else if value != nil {
			if t.Cursor, err = number(cursors.it.Key(), value); err != nil {
				return nil, err
			}
		}
		if t.Head > 0 || t.Chat.Kind() == chat.KindGroup {
			tails = append(tails, t)
		}
	}
	if err := rows.it.Error(); err != nil {
		return nil, readError(rows.prefix, err)
	}
	return tails, nil
}

// tail makes the answer's entry for the chat at which rows stands.
func (s *Store) tail(rows *follower, user chat.UserID, logs *pebble.Iterator) (storage.Tail, error) {
	key := rows.it.Key()
	if len(key) != inboxLen {
		return storage.Tail{}, keyError(key, "not the key of an inbox row")
	}
	t := storage.Tail{Chat: chat.DecodeID(key[inboxChatAt:])}
	var at head
	var known bool
	if t.Chat.Kind() == chat.KindGroup {
		value, err := rows.it.ValueAndErr()
		if err != nil {
			return t, readError(key, err)
		}
		t.Member.User = user
		if err := decodeMember(key, value, &t.Member); err != nil {
			return t, err
		}
	} else {
		// Without a member row nothing ties the head to this moment.
		at, known = s.heads.get(t.Chat)
	}
	if !known {
		var err error
		if at, err = s.durableHead(logs, t.Chat); err != nil {
			return t, err
		}
	}
	t.Head, t.HeadTime = at.seq, at.time
	return t, nil
}

// follower is a scan over rows that end in a chat id, which is moved along with
// another in the same order.
type follower struct {
	it     *pebble.Iterator
	prefix []byte
	valid  bool
}

// open begins with the first chat above.
func (f *follower) open(snap *pebble.Snapshot, prefix []byte, above chat.ID) error {
	from := prefix
	if above != (chat.ID{}) {
		from = append(above.Append(bytes.Clone(prefix)), 0)
	}
	it, err := snap.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: after(prefix)})
	if err != nil {
		return readError(prefix, err)
	}
	f.it, f.prefix = it, prefix
	f.valid = it.First()
	return nil
}

// at moves to the row of chat id and returns its value, nil if there is none. It
// steps a little first, since the next row is mostly near.
func (f *follower) at(id chat.ID, buf []byte) ([]byte, error) {
	if f.it == nil {
		return nil, nil
	}
	want := id.Append(buf)
	for steps := 0; f.valid && bytes.Compare(f.it.Key()[len(f.prefix):], want) < 0; steps++ {
		if steps < 8 {
			f.valid = f.it.Next()
		} else {
			f.valid = f.it.SeekGE(append(bytes.Clone(f.prefix), want...))
		}
	}
	if err := f.it.Error(); err != nil {
		return nil, readError(f.prefix, err)
	}
	if !f.valid || !bytes.Equal(f.it.Key()[len(f.prefix):], want) {
		return nil, nil
	}
	value, err := f.it.ValueAndErr()
	if err != nil {
		return nil, readError(f.it.Key(), err)
	}
	return value, nil
}

func (f *follower) close() {
	if f.it != nil {
		_ = f.it.Close() // its errors were seen by the reads
	}
}

// decodeMarks reads delivered and read.
func decodeMarks(key, value []byte) (delivered, read uint64, err error) {
	if len(value) != 16 {
		return 0, 0, keyError(key, fmt.Sprintf("%d bytes, want 16", len(value)))
	}
	return binary.BigEndian.Uint64(value), binary.BigEndian.Uint64(value[8:]), nil
}

// Advance implements storage.Inboxes. The rows merge by maximum: nothing is read.
func (s *Store) Advance(ctx context.Context, as []storage.Advance) error {
	b := s.db.NewBatch()
	var key []byte
	for i := range as {
		key = appendAdvance(b, key, &as[i])
	}
	if err := s.apply(ctx, b, moving, pebble.Sync); err != nil {
		return fmt.Errorf("advance: %w", err)
	}
	return nil
}

// appendAdvance adds the rows of one Advance to the batch; key is scratch space.
func appendAdvance(b *pebble.Batch, key []byte, a *storage.Advance) []byte {
	if a.Device != 0 && a.Cursor != 0 {
		key = cursorKey(key[:0], a.User, a.Device, a.Chat)
		op := b.MergeDeferred(len(key), 8)
		copy(op.Key, key)
		be(op.Value[:0], a.Cursor)
		_ = op.Finish() // fails for indexed batches only
	}
	if a.Delivered != 0 || a.Read != 0 {
		key = userChatKey(key[:0], tagMarks, a.User, a.Chat)
		op := b.MergeDeferred(len(key), 16)
		copy(op.Key, key)
		be(be(op.Value[:0], a.Delivered), a.Read)
		_ = op.Finish() // as above
	}
	return key
}

// Watermarks implements storage.Inboxes.
func (s *Store) Watermarks(ctx context.Context, id chat.ID, users []chat.UserID) ([]chat.Watermark, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	marks := make([]chat.Watermark, len(users))
	var buf keyBuf
	for i, u := range users {
		marks[i].User = u
		key := userChatKey(buf[:0], tagMarks, u, id)
		_, err := s.get(key, func(value []byte) (err error) {
			marks[i].Delivered, marks[i].Read, err = decodeMarks(key, value)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("watermarks: %w", err)
		}
	}
	return marks, nil
}

// Cursors implements storage.Inboxes.
func (s *Store) Cursors(
	ctx context.Context, id chat.ID, user chat.UserID, devices []chat.DeviceID,
) ([]uint64, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	cursors := make([]uint64, len(devices))
	var buf keyBuf
	for i, d := range devices {
		var err error
		if cursors[i], err = s.getNumber(cursorKey(buf[:0], user, d, id)); err != nil {
			return nil, fmt.Errorf("cursors: %w", err)
		}
	}
	return cursors, nil
}
