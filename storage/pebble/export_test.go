package pebble

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"tidings/chat"
)

// Applied returns the end of a chat's log as the database has it, durable or not.
func (s *Store) Applied(id chat.ID) (uint64, error) {
	it, err := s.logIter()
	if err != nil {
		return 0, err
	}
	at, err := lastEntry(it, id)
	if err != nil {
		return 0, err
	}
	return at.seq, it.Close()
}

// CompactUsual compacts as the database does by itself, which carries values over
// in their old files.
func (s *Store) CompactUsual(ctx context.Context) error {
	if err := s.db.Flush(); err != nil {
		return err
	}
	return s.db.Compact(ctx, []byte{0}, []byte{0xff}, false)
}

// PutBroken stores a row in the place of an entry that no reader understands.
func (s *Store) PutBroken(id chat.ID, seq uint64) error {
	return s.db.Set(messageKey(nil, id, seq), []byte{0xff}, pebble.Sync)
}

// CIDRows counts the rows that duplicates in a chat are found by.
func (s *Store) CIDRows(id chat.ID) (n int, err error) {
	err = s.scan(keyChat(nil, tagCID, id), nil, func(_, _ []byte) (bool, error) {
		n++
		return true, nil
	})
	return n, err
}

// CheckRows looks at the raw rows for what the store's readers would step over: gaps
// in logs, and rows that point to nothing or are missing.
func (s *Store) CheckRows() error {
	messages := map[string]*chat.Message{} // by key
	var last chat.Message
	err := s.scan([]byte{tagMessage}, nil, func(key, value []byte) (bool, error) {
		m := &chat.Message{}
		if err := decodeMessage(key, append([]byte(nil), value...), m); err != nil {
			return false, err
		}
		if m.Chat == last.Chat && m.Seq != last.Seq+1 {
			return false, fmt.Errorf("%v: %d follows %d", m.Chat, m.Seq, last.Seq)
		}
		last = *m
		messages[string(key)] = m
		return true, nil
	})
	pointers := map[string]bool{}
	for _, tag := range []byte{tagCID, tagExpires} {
		err = errors.Join(err, s.scan([]byte{tag}, nil, func(key, _ []byte) (bool, error) {
			pointers[string(key)] = true
			return true, nil
		}))
	}
	for _, m := range messages {
		if key := string(cidKey(nil, m.Chat, m.From, m.CID)); len(m.CID) > 0 && !pointers[key] {
			err = errors.Join(err, fmt.Errorf("%v: %d is not found by its cid", m.Chat, m.Seq))
		} else {
			delete(pointers, key)
		}
		if key := string(expiresKey(nil, m.Expires, m.Chat, m.Seq)); m.Expires != 0 && !m.Stub && !pointers[key] {
			err = errors.Join(err, fmt.Errorf("%v: %d does not expire", m.Chat, m.Seq))
		} else {
			delete(pointers, key)
		}
	}
	for key := range pointers {
		err = errors.Join(err, fmt.Errorf("row %q points to nothing", key))
	}
	return errors.Join(err, s.scan([]byte{tagListed}, nil, func(key, _ []byte) (bool, error) {
		id, err := listedDevice(key)
		if err == nil {
			_, err = s.storedSession(id)
		}
		return true, err
	}))
}
