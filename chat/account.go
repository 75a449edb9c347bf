package chat

import "time"

// Audience says who may do something to a user.
type Audience string

// The audiences. The zero value means AudienceEveryone.
const (
	AudienceEveryone Audience = "everyone"
	AudienceShared   Audience = "shared" // people in a shared chat
	AudienceNobody   Audience = "nobody"
)

// Valid tells whether a is one of the audiences or the zero value.
func (a Audience) Valid() bool {
	switch a {
	case "", AudienceEveryone, AudienceShared, AudienceNobody:
		return true
	}
	return false
}

// User is an account. Name is unique among all accounts there ever were: the
// name of a removed user stays reserved.
type User struct {
	ID    UserID
	Name  string // [a-z0-9][a-z0-9._-]{0,63}
	Title string // display name
	Credentials
	Created  time.Time
	Disabled bool
	Removed  bool

	Presence       Audience // who sees presence and last seen
	Writers        Audience // who may start to write to the user
	Adders         Audience // who may add the user to a group
	NoReadReceipts bool     // neither sends nor gets read receipts
	LastSeen       int64    // Unix milliseconds, zero if never
}

// Credentials are what is stored of a user's password. They are secrets and never
// logged. All are of the same password, so that they are set together.
type Credentials struct {
	Password string // argon2id in PHC form; "" means no login by password

	// SCRAM is the verifier of SCRAM-SHA-256 in the form of RFC 5803, "" for a
	// password that was set before there were any: it cannot be had from the other.
	SCRAM string
}

// Device is one login of a user. Name is the MQTT client identifier and unique
// among the user's devices, also the revoked ones: revoking bars the name.
type Device struct {
	ID      DeviceID
	User    UserID
	Name    string
	Token   []byte // SHA-256 of the device's own token; nil: enters by password only
	ByWord  bool   // has come in by the user's password at least once
	Created time.Time
	Seen    int64 // Unix milliseconds of the last connect or disconnect
	Revoked bool

	Inbox bool   // set by the first granted chat subscription: the device has an inbox
	Epoch uint32 // count of the device's connects
	Node  string // node that opened the newest session, "" once it has been closed
}

// Group is a group's settings. Its members are rows of their own.
type Group struct {
	ID      GroupID
	Name    string // same grammar and reservation as user names
	Title   string
	Creator UserID
	Created time.Time
	Removed bool
	History bool // new members see what was before them

	// Invited may join by themselves: their settings did not let them be added.
	Invited []UserID
}
