package pebble

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"tidings/chat"
)

// Accounts and groups are read and written seldom; their records are JSON behind
// a version byte. The id is in the key.
const adminVersion = 1

// userRow is an account as stored. Its fields follow chat.User one by one, so
// that a field added there does not compile here until it has a name on disk.
type userRow struct {
	ID       chat.UserID `json:"-"`
	Name     string      `json:"name"`
	Title    string      `json:"title,omitempty"`
	Password string      `json:"password,omitempty"`
	Created  time.Time   `json:"created"`
	Disabled bool        `json:"disabled,omitempty"`
	Removed  bool        `json:"removed,omitempty"`

	Presence       chat.Audience `json:"presence,omitempty"`
	Writers        chat.Audience `json:"writers,omitempty"`
	Adders         chat.Audience `json:"adders,omitempty"`
	NoReadReceipts bool          `json:"no_read_receipts,omitempty"`
	LastSeen       int64         `json:"last_seen,omitempty"`
}

// groupRow is a group as stored, as userRow is an account.
type groupRow struct {
	ID      chat.GroupID `json:"-"`
	Name    string       `json:"name"`
	Title   string       `json:"title,omitempty"`
	Creator chat.UserID  `json:"creator,omitempty"`
	Created time.Time    `json:"created"`
	Removed bool         `json:"removed,omitempty"`
	History bool         `json:"history,omitempty"`
}

func encodeUser(u *chat.User) ([]byte, error) {
	row := userRow(*u)
	row.Created = row.Created.UTC()
	return encodeAdmin(row)
}

func encodeGroup(g *chat.Group) ([]byte, error) {
	row := groupRow(*g)
	row.Created = row.Created.UTC()
	return encodeAdmin(row)
}

func encodeAdmin(row any) ([]byte, error) {
	b, err := json.Marshal(row)
	if err != nil {
		return nil, fmt.Errorf("encode record: %w", err)
	}
	return append([]byte{adminVersion}, b...), nil
}

func decodeUser(key, value []byte, u *chat.User) error {
	var row userRow
	id, err := decodeAdmin(key, value, &row)
	*u = chat.User(row)
	u.ID = chat.UserID(id)
	return err
}

func decodeGroup(key, value []byte, g *chat.Group) error {
	var row groupRow
	id, err := decodeAdmin(key, value, &row)
	*g = chat.Group(row)
	g.ID = chat.GroupID(id)
	return err
}

func decodeAdmin(key, value []byte, row any) (id uint64, err error) {
	if len(key) != 1+8 {
		return 0, keyError(key, "not the key of an account or group")
	}
	if len(value) == 0 || value[0] != adminVersion {
		return 0, keyError(key, errVersion.Error())
	}
	// The parser's own text could quote the record, a password hash among it.
	if json.Unmarshal(value[1:], row) != nil {
		return 0, keyError(key, "broken JSON")
	}
	return binary.BigEndian.Uint64(key[1:]), nil
}
