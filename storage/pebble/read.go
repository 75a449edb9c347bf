package pebble

import (
	"context"
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"tidings/chat"
	"tidings/storage"
)

// Limits of a Range that names none.
const (
	rangeLimit = 1000
	rangeBytes = 1 << 20
)

// Read implements storage.Log.
func (s *Store) Read(ctx context.Context, r storage.Range) ([]chat.Message, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if r.Limit <= 0 {
		r.Limit = rangeLimit
	}
	if r.Bytes <= 0 {
		r.Bytes = rangeBytes
	}
	if r.To == 0 {
		r.To = ^uint64(0)
	}
	if r.From > r.To {
		return nil, nil
	}
	it, err := s.db.NewIter(&pebble.IterOptions{
		LowerBound: messageKey(nil, r.Chat, r.From),
		UpperBound: append(messageKey(nil, r.Chat, r.To), 0),
	})
	if err != nil {
		return nil, readError([]byte{tagMessage}, err)
	}
	// The iterator is open: what the head says now is no older than what it sees.
	if known, ok := s.heads.get(r.Chat); ok && known.seq < r.To {
		if known.seq < r.From {
			return nil, it.Close()
		}
		it.SetBounds(messageKey(nil, r.Chat, r.From), append(messageKey(nil, r.Chat, known.seq), 0))
	}
	messages, err := readRange(it, r)
	if err = errors.Join(err, it.Close()); err != nil {
		return nil, err
	}
	return messages, nil
}

func readRange(it *pebble.Iterator, r storage.Range) ([]chat.Message, error) {
	first, next := it.First, it.Next
	if r.Reverse {
		first, next = it.Last, it.Prev
	}
	var messages []chat.Message
	size := 0
	for ok := first(); ok && len(messages) < r.Limit && size <= r.Bytes; ok = next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return nil, readError(it.Key(), err)
		}
		var m chat.Message
		if err := decodeMessage(it.Key(), append([]byte(nil), value...), &m); err != nil {
			return nil, err
		}
		messages = append(messages, m)
		size += len(m.Body)
	}
	if err := it.Error(); err != nil {
		return nil, readError(messageKey(nil, r.Chat, r.From), err)
	}
	return messages, nil
}
