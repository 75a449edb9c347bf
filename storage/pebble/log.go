package pebble

import (
	"context"
	"encoding/binary"
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"tidings/chat"
	"tidings/storage"
)

// logIter opens an iterator over all messages; it sees one moment of the store.
func (s *Store) logIter() (*pebble.Iterator, error) {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{tagMessage}, UpperBound: []byte{tagMessage + 1}})
	if err != nil {
		return nil, readError([]byte{tagMessage}, err)
	}
	return it, nil
}

// lastEntry finds the end of a chat's log as the iterator sees it.
func lastEntry(it *pebble.Iterator, id chat.ID) (head, error) {
	var buf [1 + chat.IDSize + 9]byte
	prefix := keyChat(buf[:0], tagMessage, id)
	// Behind every seq, and before the next chat.
	bound := append(be(prefix, ^uint64(0)), 0)
	if !it.SeekLT(bound) {
		if err := it.Error(); err != nil {
			return head{}, readError(prefix, err)
		}
		return head{}, nil
	}
	key := it.Key()
	if len(key) != messageLen || chat.DecodeID(key[1:]) != id {
		return head{}, nil
	}
	value, err := it.ValueAndErr()
	if err != nil {
		return head{}, readError(key, err)
	}
	at, err := messageTime(key, value)
	return head{seq: binary.BigEndian.Uint64(key[messageSeqAt:]), time: at}, err
}

// durableHead is lastEntry, kept from what an Append under way has not made
// durable. The iterator must have been opened before the call: see heads.
func (s *Store) durableHead(it *pebble.Iterator, id chat.ID) (head, error) {
	seen, err := lastEntry(it, id)
	if err != nil {
		return head{}, err
	}
	if known, ok := s.heads.get(id); ok && known.seq < seen.seq {
		return known, nil
	}
	return seen, nil
}

// readHead reads a chat's head from the log.
func (s *Store) readHead(id chat.ID) (head, error) {
	it, err := s.logIter()
	if err != nil {
		return head{}, err
	}
	at, err := s.durableHead(it, id)
	return at, errors.Join(err, it.Close())
}

// messageByCID returns the message that the row with that key points to. A row
// whose message was forgotten at this very moment counts as gone, too.
func (s *Store) messageByCID(key []byte, id chat.ID) (m chat.Message, ok bool, err error) {
	seq, err := s.getNumber(key)
	if seq == 0 || err != nil {
		return m, false, err
	}
	return s.message(id, seq)
}

// message reads one message; ok is false if it is not there.
func (s *Store) message(id chat.ID, seq uint64) (m chat.Message, ok bool, err error) {
	key := messageKey(nil, id, seq)
	ok, err = s.get(key, func(value []byte) error {
		return decodeMessage(key, append([]byte(nil), value...), &m)
	})
	return m, ok, err
}

// Chats implements storage.Log.
func (s *Store) Chats(ctx context.Context, ids []chat.ID) ([]storage.ChatInfo, error) {
	infos := make([]storage.ChatInfo, len(ids))
	var it *pebble.Iterator
	var err error
	for i, id := range ids {
		if err = ctx.Err(); err != nil {
			break
		}
		at, known := s.heads.get(id)
		if !known {
			if it == nil {
				if it, err = s.logIter(); err != nil {
					break
				}
			}
			if at, err = s.durableHead(it, id); err != nil {
				break
			}
		}
		if infos[i], err = s.chatInfo(id, at); err != nil {
			break
		}
	}
	if it != nil {
		err = errors.Join(err, it.Close())
	}
	if err != nil {
		return nil, err
	}
	return infos, nil
}

// chatInfo completes a head with the chat's own rows.
func (s *Store) chatInfo(id chat.ID, at head) (storage.ChatInfo, error) {
	info := storage.ChatInfo{ID: id, Head: at.seq, HeadTime: at.time}
	var buf keyBuf
	var err error
	if info.Floor, err = s.getNumber(keyChat(buf[:0], tagFloor, id)); err != nil {
		return info, err
	}
	_, err = s.get(keyChat(buf[:0], tagRetention, id), func(value []byte) error {
		info.Retention = string(value)
		return nil
	})
	return info, err
}

// SetRetention implements storage.Log.
func (s *Store) SetRetention(ctx context.Context, id chat.ID, policy string) error {
	b := s.db.NewBatch()
	if err := b.Set(keyChat(nil, tagRetention, id), []byte(policy), nil); err != nil {
		return errors.Join(err, b.Close())
	}
	return s.apply(ctx, b, adding, pebble.Sync)
}

// ListChats implements storage.Log. It leaps from chat to chat.
func (s *Store) ListChats(ctx context.Context, after chat.ID, limit int) ([]storage.ChatInfo, error) {
	it, err := s.logIter()
	if err != nil {
		return nil, err
	}
	infos, err := s.listChats(ctx, it, after, limit)
	if err = errors.Join(err, it.Close()); err != nil {
		return nil, err
	}
	return infos, nil
}

func (s *Store) listChats(ctx context.Context, it *pebble.Iterator, after chat.ID, limit int) ([]storage.ChatInfo, error) {
	var infos []storage.ChatInfo
	var buf keyBuf
	for id := after; len(infos) < limit; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if !it.SeekGE(append(messageKey(buf[:0], id, ^uint64(0)), 0)) {
			if err := it.Error(); err != nil {
				return nil, readError([]byte{tagMessage}, err)
			}
			break
		}
		if len(it.Key()) != messageLen {
			return nil, keyError(it.Key(), "not the key of a message")
		}
		id = chat.DecodeID(it.Key()[1:])
		at, err := s.durableHead(it, id)
		if err != nil {
			return nil, err
		}
		if at.seq == 0 {
			continue // its first entry is not durable yet
		}
		info, err := s.chatInfo(id, at)
		if err != nil {
			return nil, err
		}
		infos = append(infos, info)
	}
	return infos, nil
}

// Members implements storage.Log. The head is taken before the rows are: they may
// then be newer than it, never older.
func (s *Store) Members(ctx context.Context, id chat.ID) ([]chat.Member, uint64, error) {
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	at, known := s.heads.get(id)
	if !known {
		var err error
		if at, err = s.readHead(id); err != nil {
			return nil, 0, err
		}
	}
	var members []chat.Member
	err := s.scan(keyChat(nil, tagMember, id), nil, func(key, value []byte) (bool, error) {
		if len(key) != memberLen {
			return false, keyError(key, "not the key of a member")
		}
		m := chat.Member{User: chat.UserID(binary.BigEndian.Uint64(key[memberUserAt:]))}
		if err := decodeMember(key, value, &m); err != nil {
			return false, err
		}
		members = append(members, m)
		return true, nil
	})
	if err != nil {
		return nil, 0, err
	}
	return members, at.seq, nil
}

// Expired implements storage.Log.
func (s *Store) Expired(ctx context.Context, nowMS int64, limit int) ([]storage.Position, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var due []storage.Position
	err := s.scan([]byte{tagExpires}, nil, func(key, _ []byte) (bool, error) {
		if len(key) != expiresLen {
			return false, keyError(key, "not the key of an expiry")
		}
		if int64(binary.BigEndian.Uint64(key[1:])) > nowMS || len(due) >= limit {
			return false, nil
		}
		due = append(due, storage.Position{
			Chat: chat.DecodeID(key[1+8:]),
			Seq:  binary.BigEndian.Uint64(key[1+8+chat.IDSize:]),
		})
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	return due, nil
}
