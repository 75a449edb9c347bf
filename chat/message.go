package chat

import (
	"crypto/sha256"
	"encoding/binary"
	"strings"
)

// MessageID is the UUIDv7 of a message, fixed before the first attempt to store
// it. Order is seq, never the time in the id.
type MessageID [16]byte

// Types of entries that the server itself understands. A client may send any
// other type that ValidType allows; types that begin with "sys." are the
// server's own.
const (
	TypeText = "text"

	TypeSysCreate = "sys.create" // a group was made: body {"title","members"}
	TypeSysAdd    = "sys.add"    // body {"members":[…]}
	TypeSysRemove = "sys.remove" // body {"members":[…]}
	TypeSysLeave  = "sys.leave"  // body {"members":[…]}: the one who left
	TypeSysRole   = "sys.role"   // body {"members":[…],"role":"…"}
	TypeSysUpdate = "sys.update" // body: the settings that changed
)

// IsSystem tells whether an entry type is the server's own.
func IsSystem(typ string) bool { return strings.HasPrefix(typ, "sys.") }

// Message is one entry of a chat's log, as stored. The byte slices belong to
// whoever made the message; receivers of a *Message treat them as read-only.
type Message struct {
	Chat ID
	Seq  uint64 // place in the chat: starts at 1, dense, never reused
	ID   MessageID

	From     UserID
	Device   DeviceID // zero for entries made by the server or an operator
	Epoch    uint32   // the sending device's session epoch
	PacketID uint16   // MQTT packet identifier of the publish, zero for QoS 0 and server entries

	Time    int64 // when it was committed, in Unix milliseconds
	Expires int64 // when its ttl ends, in Unix milliseconds; zero: never

	Type     string // "text" unless the draft said otherwise
	CID      []byte // client message id, nil where the client gave none
	Re       []byte // JSON of the draft's reply/edit/reaction target, nil if none
	Mentions []byte // JSON array of the draft's mentioned user names, nil if none
	Body     []byte // JSON value, byte for byte as sent (a text is stored as a JSON string)

	// Stub is set when retention has removed the content: Body, Re and Mentions
	// are nil and Digest holds what Content was.
	Stub   bool
	Digest [32]byte // of a stub only; use ContentDigest
}

// ContentDigest is the SHA-256 of what makes two sends of one cid "the same
// message": type, re, mentions and body. A stub remembers it.
func (m *Message) ContentDigest() [32]byte {
	if m.Stub {
		return m.Digest
	}
	h := sha256.New()
	var n [8]byte
	for _, part := range [...][]byte{[]byte(m.Type), m.Re, m.Mentions, m.Body} {
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		h.Write(n[:])
		h.Write(part)
	}
	var d [32]byte
	h.Sum(d[:0])
	return d
}

// Role is a member's standing in a group.
type Role uint8

// Roles, in ascending power.
const (
	RoleNone Role = iota
	RoleMember
	RoleAdmin
	RoleOwner
)

// String returns the wire name of the role.
func (r Role) String() string {
	switch r {
	case RoleMember:
		return "member"
	case RoleAdmin:
		return "admin"
	case RoleOwner:
		return "owner"
	default:
		return "none"
	}
}

// ParseRole reads a wire name; ok is false for anything that is not a role.
func ParseRole(s string) (r Role, ok bool) {
	switch s {
	case "member":
		return RoleMember, true
	case "admin":
		return RoleAdmin, true
	case "owner":
		return RoleOwner, true
	default:
		return RoleNone, false
	}
}

// Interval is a run of seqs, both ends included, that a member may see. To is
// zero while the interval is open.
type Interval struct{ From, To uint64 }

// Member is a user's standing in a group: his role (RoleNone once he is out)
// and the intervals of the log that are his to see, in ascending order. Members
// of direct chats have no rows: both users see everything.
type Member struct {
	User      UserID
	Role      Role
	Intervals []Interval
}

// Sees tells whether the member may see the entry at seq.
func (m *Member) Sees(seq uint64) bool {
	for _, iv := range m.Intervals {
		if seq >= iv.From && (iv.To == 0 || seq <= iv.To) {
			return true
		}
	}
	return false
}

// Watermark is what a member has of a chat: delivered is the highest seq that
// one of his devices has acknowledged, read the highest he said he has read.
// Read implies delivered. Both only grow.
type Watermark struct {
	User      UserID
	Delivered uint64
	Read      uint64
}
