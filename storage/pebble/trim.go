package pebble

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"tidings/chat"
	"tidings/storage"
)

// Trim implements storage.Log. Its lock keeps two Trims of one chat apart; an
// Append at the same time only adds entries, and none of those is touched.
func (s *Store) Trim(ctx context.Context, t storage.Trim) error {
	lock := &s.trims[(t.Chat.Hi*31+t.Chat.Lo)%uint64(len(s.trims))]
	lock.Lock()
	defer lock.Unlock()
	b := s.db.NewBatch()
	err := s.trim(b, t)
	if err != nil {
		return errors.Join(fmt.Errorf("trim %v: %w", t.Chat, err), b.Close())
	}
	if err := s.apply(ctx, b, always, pebble.NoSync); err != nil {
		return fmt.Errorf("trim %v: %w", t.Chat, err)
	}
	return nil
}

func (s *Store) trim(b *pebble.Batch, t storage.Trim) error {
	end, err := s.readHead(t.Chat)
	if err != nil {
		return err
	}
	if end.seq > 0 {
		t.Forget = min(t.Forget, end.seq-1)
	} else {
		t.Forget = 0
	}
	for _, seq := range t.Strip {
		if seq <= t.Forget || seq > end.seq {
			continue
		}
		if err := s.strip(b, t.Chat, seq); err != nil {
			return err
		}
	}
	if err := s.forget(b, t.Chat, t.Forget); err != nil {
		return err
	}
	if t.Floor > 0 {
		return b.Merge(keyChat(nil, tagFloor, t.Chat), be(nil, t.Floor), nil)
	}
	return nil
}

// strip turns one entry into its stub.
func (s *Store) strip(b *pebble.Batch, id chat.ID, seq uint64) error {
	m, ok, err := s.message(id, seq)
	if err != nil || !ok || m.Stub {
		return err
	}
	m.Digest = m.ContentDigest()
	m.Stub, m.Body, m.Re, m.Mentions = true, nil, nil, nil
	if m.Expires != 0 {
		if err := b.Delete(expiresKey(nil, m.Expires, id, seq), nil); err != nil {
			return err
		}
	}
	return b.Set(messageKey(nil, id, seq), appendMessage(nil, &m), nil)
}

// forget removes the entries up to seq with all that points to them. It begins
// where the last one has ended: what is left of forgotten rows until a compaction
// would be stepped over one by one.
func (s *Store) forget(b *pebble.Batch, id chat.ID, seq uint64) error {
	oldestKey := keyChat(nil, tagOldest, id)
	oldest, err := s.getNumber(oldestKey)
	if err != nil || seq == 0 || seq < oldest {
		return err
	}
	if err := b.Merge(oldestKey, be(nil, seq+1), nil); err != nil {
		return err
	}
	return s.scan(keyChat(nil, tagMessage, id), messageKey(nil, id, oldest), func(key, value []byte) (bool, error) {
		var m chat.Message
		if err := decodeMessage(key, value, &m); err != nil {
			return false, err
		}
		if m.Seq > seq {
			return false, nil
		}
		if len(m.CID) > 0 {
			if err := b.Delete(cidKey(nil, id, m.From, m.CID), nil); err != nil {
				return false, err
			}
		}
		if m.Expires != 0 && !m.Stub {
			if err := b.Delete(expiresKey(nil, m.Expires, id, m.Seq), nil); err != nil {
				return false, err
			}
		}
		return true, b.Delete(key, nil)
	})
}
