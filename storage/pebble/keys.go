package pebble

import (
	"encoding/binary"
	"fmt"

	"tidings/chat"
	"tidings/storage"
)

// The keys begin with one letter that names the kind of row. Numbers are big
// endian so that keys sort as numbers do: user, device, group, seq and time take
// 8 bytes, chat takes 16 (chat.ID.Append). Names are the last part of a key and
// need no length.
//
//	key                       value
//	k kind                    last id given out, 8 bytes; kind is U, D or G
//	U user                    account, JSON behind a version byte
//	N name                    user id of that name, 8 bytes; never removed
//	B user target             empty: user has blocked target
//	D device                  device record, see device_record.go
//	E user name               device id of that name, 8 bytes; never removed
//	F user device             empty: the user's devices in order of id
//	S device                  state of the carrier's session, opaque
//	L device                  empty: the session is listed
//	G group                   group, JSON behind a version byte
//	H name                    group id of that name, 8 bytes; never removed
//
//	m chat seq                message record, see message_record.go
//	d chat sender cid         seq of the message with that cid, 8 bytes
//	x expires chat seq        empty: the message ends at expires (Unix ms)
//	g chat user               member record, see member_record.go
//	p chat                    retention policy, a string
//	f chat                    floor, 8 bytes, merged by maximum
//	o chat                    the chat has no entry below this seq, 8 bytes, merged by
//	                          maximum: Trim begins here and steps over no remains
//
//	i user chat               the chat is in the user's inbox; value: copy of the
//	                          member record in groups, empty elsewhere
//	w user chat               delivered, read: 16 bytes, merged by maximum
//	r user device chat        cursor, 8 bytes, merged by maximum
//
//	T topic                   retained message of an open topic, opaque, not empty
//
// Rows i, w and r of one user sort by chat alike, so that Inbox is three scans
// side by side and a look-up of each chat's head.
const (
	tagCounter   = 'k'
	tagUser      = 'U'
	tagUserName  = 'N'
	tagBlock     = 'B'
	tagDevice    = 'D'
	tagDevName   = 'E'
	tagDevOf     = 'F'
	tagSession   = 'S'
	tagListed    = 'L'
	tagGroup     = 'G'
	tagGroupName = 'H'

	tagMessage   = 'm'
	tagCID       = 'd'
	tagExpires   = 'x'
	tagMember    = 'g'
	tagRetention = 'p'
	tagFloor     = 'f'
	tagOldest    = 'o'

	tagInbox  = 'i'
	tagMarks  = 'w'
	tagCursor = 'r'

	tagRetained = 'T'
)

// keyBuf holds a key on the stack; names and cids are at most 128 bytes long in
// practice, longer ones move to the heap.
type keyBuf [1 + 2*8 + chat.IDSize + 128]byte

func be(b []byte, n uint64) []byte { return binary.BigEndian.AppendUint64(b, n) }

func key1(b []byte, tag byte, n uint64) []byte { return be(append(b, tag), n) }

func key2(b []byte, tag byte, n, m uint64) []byte { return be(be(append(b, tag), n), m) }

func keyName(b []byte, tag byte, name string) []byte { return append(append(b, tag), name...) }

func keyChat(b []byte, tag byte, id chat.ID) []byte { return id.Append(append(b, tag)) }

func counterKey(kind byte) []byte { return []byte{tagCounter, kind} }

func devNameKey(b []byte, user chat.UserID, name string) []byte {
	return append(key1(b, tagDevName, uint64(user)), name...)
}

func messageKey(b []byte, id chat.ID, seq uint64) []byte {
	return be(keyChat(b, tagMessage, id), seq)
}

func cidKey(b []byte, id chat.ID, from chat.UserID, cid []byte) []byte {
	return append(be(keyChat(b, tagCID, id), uint64(from)), cid...)
}

func expiresKey(b []byte, expires int64, id chat.ID, seq uint64) []byte {
	return be(id.Append(key1(b, tagExpires, uint64(expires))), seq)
}

func memberKey(b []byte, id chat.ID, user chat.UserID) []byte {
	return be(keyChat(b, tagMember, id), uint64(user))
}

// userChatKey is the key of rows i and w.
func userChatKey(b []byte, tag byte, user chat.UserID, id chat.ID) []byte {
	return id.Append(key1(b, tag, uint64(user)))
}

func cursorKey(b []byte, user chat.UserID, device chat.DeviceID, id chat.ID) []byte {
	return id.Append(key2(b, tagCursor, uint64(user), uint64(device)))
}

// after returns the first key above all keys that begin with prefix. The prefix
// has a tag below 0xff, so there is one.
func after(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		end[i]++
		if end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}

// Positions inside keys.
const (
	messageSeqAt = 1 + chat.IDSize
	messageLen   = messageSeqAt + 8
	memberUserAt = 1 + chat.IDSize
	memberLen    = memberUserAt + 8
	inboxChatAt  = 1 + 8
	inboxLen     = inboxChatAt + chat.IDSize
	cursorChatAt = 1 + 8 + 8
	expiresLen   = 1 + 8 + chat.IDSize + 8
)

// keyError tells which row does not decode. Keys of rows that may hold a name, a
// cid or a topic are not secrets, but may be long; values never appear.
func keyError(key []byte, what string) error {
	return fmt.Errorf("%w: row %.200q: %s", storage.ErrCorrupt, key, what)
}

// number decodes a value that is one number.
func number(key, value []byte) (uint64, error) {
	if len(value) != 8 {
		return 0, keyError(key, fmt.Sprintf("%d bytes, want 8", len(value)))
	}
	return binary.BigEndian.Uint64(value), nil
}
