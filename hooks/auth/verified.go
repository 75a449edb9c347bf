package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"sync"

	"tidings/chat"
)

// verified remembers which password was right for a user, so that a stock client
// that sends it at every reconnect does not cost an argon2id each time.
//
// What it keeps of a user is HMAC-SHA-256 over the stored hash and the password,
// under a key that only this process has. A changed password has another hash, so
// nothing needs to be dropped. The key makes a copy of the map alone useless.
//
// It holds between limit/2 and limit users, those longest not seen leave: it is two
// maps, and the older one is thrown away when the newer one is half of the limit.
type verified struct {
	key  []byte
	half int // 0: remembers nothing

	mu         sync.Mutex
	young, old map[chat.UserID][sha256.Size]byte
}

func newVerified(limit int) *verified {
	return &verified{key: random(sha256.Size), half: max(limit, 0) / 2}
}

// has tells whether the password was right for the user while hash was stored.
func (v *verified) has(user chat.UserID, hash string, password []byte) bool {
	v.mu.Lock()
	sum, young := v.young[user]
	known := young
	if !known {
		sum, known = v.old[user]
	}
	v.mu.Unlock()
	if !known {
		return false
	}
	mine := v.sum(hash, password)
	if !hmac.Equal(mine[:], sum[:]) {
		return false
	}
	if !young {
		v.put(user, sum)
	}
	return true
}

// add remembers that the password is the one of hash.
func (v *verified) add(user chat.UserID, hash string, password []byte) {
	v.put(user, v.sum(hash, password))
}

func (v *verified) put(user chat.UserID, sum [sha256.Size]byte) {
	if v.half == 0 {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.young == nil || len(v.young) >= v.half {
		v.old, v.young = v.young, make(map[chat.UserID][sha256.Size]byte)
	}
	v.young[user] = sum
}

func (v *verified) sum(hash string, password []byte) (sum [sha256.Size]byte) {
	mac := hmac.New(sha256.New, v.key)
	mac.Write([]byte(hash))
	mac.Write([]byte{0}) // not in a hash: it ends there
	mac.Write(password)
	mac.Sum(sum[:0])
	return sum
}
