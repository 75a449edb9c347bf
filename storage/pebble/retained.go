package pebble

import (
	"context"
	"errors"
	"fmt"

	"tidings/storage"
)

// retain adds one retained message, or its removal, to the batch.
func (a *appender) retain(r *storage.Retained) error {
	a.key = keyName(a.key[:0], tagRetained, r.Topic)
	if len(r.Body) == 0 {
		return a.batch.Delete(a.key, nil)
	}
	return a.batch.Set(a.key, r.Body, nil)
}

// decodeRetained reads the row of a retained message. It keeps nothing of key and
// value.
func decodeRetained(key, value []byte) (storage.Retained, error) {
	if len(key) < 2 || len(value) == 0 {
		return storage.Retained{}, keyError(key, "a retained message without topic or body")
	}
	return storage.Retained{Topic: string(key[1:]), Body: append([]byte(nil), value...)}, nil
}

// ListRetained implements storage.OpenTopics.
func (s *Store) ListRetained(ctx context.Context, after string, limit int) ([]storage.Retained, error) {
	var rs []storage.Retained
	from := append(keyName(nil, tagRetained, after), 0)
	err := s.scan([]byte{tagRetained}, from, func(key, value []byte) (bool, error) {
		if len(rs) >= limit {
			return false, nil
		}
		r, err := decodeRetained(key, value)
		rs = append(rs, r)
		return true, errors.Join(err, ctx.Err())
	})
	if err != nil {
		return nil, fmt.Errorf("list retained messages: %w", err)
	}
	return rs, nil
}
