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

// ListRetained implements storage.OpenTopics.
func (s *Store) ListRetained(ctx context.Context, after string, limit int) ([]storage.Retained, error) {
	var rs []storage.Retained
	from := append(keyName(nil, tagRetained, after), 0)
	err := s.scan([]byte{tagRetained}, from, func(key, value []byte) (bool, error) {
		if len(rs) >= limit {
			return false, nil
		}
		if len(value) == 0 {
			return false, keyError(key, "a retained message without a body")
		}
		rs = append(rs, storage.Retained{Topic: string(key[1:]), Body: append([]byte(nil), value...)})
		return true, ctx.Err()
	})
	if err := errors.Join(err, ctx.Err()); err != nil {
		return nil, fmt.Errorf("list retained messages: %w", err)
	}
	return rs, nil
}
