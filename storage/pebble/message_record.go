package pebble

import (
	"encoding/binary"

	"tidings/chat"
)

// A message record:
//
//	0   version, 1
//	1   flags: bit 0 stub
//	2   time, Unix ms, 8 bytes
//	10  id, 16 bytes
//	26  from, 8 bytes
//	34  device, 8 bytes
//	42  epoch, 4 bytes
//	46  packet identifier, 2 bytes
//	48  expires, 8 bytes
//	56  type, then cid: each its length as a varint, then the bytes
//	    a stub: content digest, 32 bytes, and the end
//	    else:   re, mentions (as type), and the body up to the end
//
// Chat and seq are in the key. Time stands first so that a chat's head is known
// from the first bytes.
const (
	messageVersion = 1
	messageFixed   = 56
	flagStub       = 1
	messageTimeAt  = 2
)

// messageSize is the length of m's record.
func messageSize(m *chat.Message) int {
	n := messageFixed + bytesSize(len(m.Type)) + bytesSize(len(m.CID))
	if m.Stub {
		return n + len(m.Digest)
	}
	return n + bytesSize(len(m.Re)) + bytesSize(len(m.Mentions)) + len(m.Body)
}

func bytesSize(n int) int { return uvarintLen(uint64(n)) + n }

// appendMessage appends m's record to b.
func appendMessage(b []byte, m *chat.Message) []byte {
	var flags byte
	if m.Stub {
		flags |= flagStub
	}
	b = append(b, messageVersion, flags)
	b = be(b, uint64(m.Time))
	b = append(b, m.ID[:]...)
	b = be(b, uint64(m.From))
	b = be(b, uint64(m.Device))
	b = binary.BigEndian.AppendUint32(b, m.Epoch)
	b = binary.BigEndian.AppendUint16(b, m.PacketID)
	b = be(b, uint64(m.Expires))
	b = appendString(b, m.Type)
	b = appendBytes(b, m.CID)
	if m.Stub {
		return append(b, m.Digest[:]...)
	}
	b = appendBytes(b, m.Re)
	b = appendBytes(b, m.Mentions)
	return append(b, m.Body...)
}

// decodeMessage reads the row of a message. The message keeps parts of value;
// key is only read.
func decodeMessage(key, value []byte, m *chat.Message) error {
	if len(key) != messageLen {
		return keyError(key, "not the key of a message")
	}
	*m = chat.Message{Chat: chat.DecodeID(key[1:]), Seq: binary.BigEndian.Uint64(key[messageSeqAt:])}
	r := reader{b: value}
	r.version(messageVersion)
	flags := r.byte()
	if flags&^flagStub != 0 {
		r.fail(errValue)
	}
	m.Stub = flags&flagStub != 0
	m.Time = int64(r.u64())
	copy(m.ID[:], r.take(len(m.ID)))
	m.From = chat.UserID(r.u64())
	m.Device = chat.DeviceID(r.u64())
	m.Epoch = r.u32()
	m.PacketID = r.u16()
	m.Expires = int64(r.u64())
	m.Type = typeString(r.bytes())
	m.CID = r.bytes()
	if m.Stub {
		copy(m.Digest[:], r.take(len(m.Digest)))
	} else {
		m.Re = r.bytes()
		m.Mentions = r.bytes()
		if body := r.take(len(r.b)); len(body) > 0 {
			m.Body = body
		}
	}
	if err := r.end(); err != nil {
		return keyError(key, err.Error())
	}
	return nil
}

// typeString makes the type a string without an allocation for the usual ones.
func typeString(b []byte) string {
	if string(b) == chat.TypeText {
		return chat.TypeText
	}
	return string(b)
}

// messageTime reads only the time of a record.
func messageTime(key, value []byte) (int64, error) {
	if len(value) < messageFixed || value[0] != messageVersion {
		return 0, keyError(key, errShort.Error())
	}
	return int64(binary.BigEndian.Uint64(value[messageTimeAt:])), nil
}
