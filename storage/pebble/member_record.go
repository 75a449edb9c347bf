package pebble

import (
	"encoding/binary"

	"tidings/chat"
)

// A member record:
//
//	0  version, 1
//	1  role
//	2  number of intervals, then from and to of each, all as varints
//
// The user is in the key.
const memberVersion = 1

// appendMember appends m's record to b.
func appendMember(b []byte, m *chat.Member) []byte {
	b = append(b, memberVersion, byte(m.Role))
	b = binary.AppendUvarint(b, uint64(len(m.Intervals)))
	for _, iv := range m.Intervals {
		b = binary.AppendUvarint(b, iv.From)
		b = binary.AppendUvarint(b, iv.To)
	}
	return b
}

// decodeMember reads a member record into m; the user is the caller's to set.
func decodeMember(key, value []byte, m *chat.Member) error {
	*m = chat.Member{User: m.User}
	r := reader{b: value}
	r.version(memberVersion)
	m.Role = chat.Role(r.byte())
	if m.Role > chat.RoleOwner {
		r.fail(errValue)
	}
	n := r.uvarint()
	if n > uint64(len(r.b))/2 {
		r.fail(errShort)
		n = 0
	}
	if n > 0 {
		m.Intervals = make([]chat.Interval, n)
	}
	for i := range m.Intervals {
		m.Intervals[i] = chat.Interval{From: r.uvarint(), To: r.uvarint()}
	}
	if err := r.end(); err != nil {
		return keyError(key, err.Error())
	}
	return nil
}
