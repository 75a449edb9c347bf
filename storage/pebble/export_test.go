package pebble

import (
	"context"

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
