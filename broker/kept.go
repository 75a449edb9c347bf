package broker

import "encoding/binary"

// kept is what the carrier keeps with a session for the device's next
// connection:
//
//	version 1 | expiry u32 | ended i64 | will, if any: delay u32, topic, cid, text flag, payload
//
// Integers are big-endian; topic and cid begin with their length in two bytes.
type kept struct {
	expiry uint32 // session expiry interval in seconds
	ended  int64  // when the connection ended, Unix milliseconds; zero: it is open, or was at a crash
	will   *will
}

const keptVersion = 1

// append appends the binary form; nothing for a state that needs no keeping: a
// session that is open, has no end and no will, or one that ends with its
// connection.
func (k kept) append(b []byte) []byte {
	if k.will == nil && (k.expiry == neverExpires || k.expiry == 0) {
		return b
	}
	b = append(b, keptVersion)
	b = binary.BigEndian.AppendUint32(b, k.expiry)
	b = binary.BigEndian.AppendUint64(b, uint64(k.ended))
	if w := k.will; w != nil {
		b = binary.BigEndian.AppendUint32(b, w.delay)
		b = appendString(appendString(b, w.topic), w.cid)
		flag := byte(0)
		if w.text {
			flag = 1
		}
		b = append(append(b, flag), w.payload...)
	}
	return b
}

// parseKept reads the binary form. What it does not understand counts as nothing:
// a session without an end.
func parseKept(b []byte) kept {
	s := scanner{b: b}
	if s.u8() != keptVersion {
		return kept{expiry: neverExpires}
	}
	k := kept{expiry: s.u32()}
	k.ended = int64(s.u32())<<32 | int64(s.u32())
	if !s.bad && len(s.b) > 0 {
		w := &will{delay: s.u32(), topic: string(s.binary()), cid: string(s.binary())}
		w.text = s.u8() == 1
		w.payload = append([]byte(nil), s.b...)
		k.will = w
	}
	if s.bad {
		return kept{expiry: neverExpires}
	}
	return k
}

// expired tells whether the session has ended by its expiry interval. now is in
// Unix milliseconds.
func (k kept) expired(now int64) bool {
	return k.ended > 0 && k.expiry != neverExpires && now >= k.ended+int64(k.expiry)*1000
}
