package pebble

import (
	"encoding/binary"
	"encoding/json"
	"fmt"

	"tidings/chat"
)

// Accounts and groups are read and written seldom; their records are JSON behind
// a version byte, with the fields of chat.User and chat.Group by their Go names.
// A field that is added there is stored without a change here; one that is
// renamed needs a new version. The id is in the key.
const adminVersion = 1

func encodeUser(u *chat.User) ([]byte, error) {
	row := *u
	row.Created = row.Created.UTC()
	return encodeAdmin(&row)
}

func encodeGroup(g *chat.Group) ([]byte, error) {
	row := *g
	row.Created = row.Created.UTC()
	return encodeAdmin(&row)
}

func encodeAdmin(row any) ([]byte, error) {
	b, err := json.Marshal(row)
	if err != nil {
		return nil, fmt.Errorf("encode record: %w", err)
	}
	return append([]byte{adminVersion}, b...), nil
}

func decodeUser(key, value []byte, u *chat.User) error {
	*u = chat.User{}
	id, err := decodeAdmin(key, value, u)
	u.ID = chat.UserID(id)
	return err
}

func decodeGroup(key, value []byte, g *chat.Group) error {
	*g = chat.Group{}
	id, err := decodeAdmin(key, value, g)
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
