package auth

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// Params is the cost of one argon2id computation. Fields that are zero mean the
// defaults, which are those of OWASP's password storage advice.
type Params struct {
	MemoryKiB uint32 // 0: 19,456 (19 MiB)
	Time      uint32 // passes; 0: 2
	Threads   uint8  // 0: 1
}

// The bounds of what a stored hash may ask for, so that a bad row in the store
// cannot take the node's memory or a minute of its time.
const (
	maxMemoryKiB = 1 << 20 // 1 GiB
	maxTime      = 64
	minSalt      = 8
	maxSalt      = 64
	minKey       = 16
	maxKey       = 64
)

// MaxPassword is the length of the longest password, in bytes.
const MaxPassword = 1024

const (
	saltBytes = 16
	keyBytes  = 32
)

// ErrPassword is what HashPassword's error Is when the password cannot be used.
// The error says why in words for people and does not hold the password.
var ErrPassword = errors.New("password cannot be used")

var errHash = errors.New("not an argon2id hash in PHC form")

func (p Params) withDefaults() Params {
	if p.MemoryKiB == 0 {
		p.MemoryKiB = 19_456
	}
	if p.Time == 0 {
		p.Time = 2
	}
	if p.Threads == 0 {
		p.Threads = 1
	}
	return p
}

func (p Params) validate() error {
	// RFC 9106, section 3.1: at least 8 KiB for each lane.
	if p.Threads == 0 || p.MemoryKiB < 8*uint32(p.Threads) || p.MemoryKiB > maxMemoryKiB {
		return fmt.Errorf("argon2 memory of %d KiB for %d threads: want 8 KiB a thread to 1 GiB", p.MemoryKiB, p.Threads)
	}
	if p.Time < 1 || p.Time > maxTime {
		return fmt.Errorf("argon2 time of %d: want 1 to %d", p.Time, maxTime)
	}
	return nil
}

// HashPassword returns the PHC string to store in chat.User.Password. It takes
// as long and as much memory as p says. A password that is empty, longer than
// MaxPassword or of the form of a device token is ErrPassword.
func HashPassword(password []byte, p Params) (string, error) {
	p = p.withDefaults()
	switch {
	case len(password) == 0:
		return "", fmt.Errorf("%w: it is empty", ErrPassword)
	case len(password) > MaxPassword:
		return "", fmt.Errorf("%w: it is longer than %d bytes", ErrPassword, MaxPassword)
	case isToken(password):
		return "", fmt.Errorf("%w: it has the form of a device token", ErrPassword)
	}
	if err := p.validate(); err != nil {
		return "", err
	}
	h := phc{Params: p, salt: random(saltBytes)}
	h.key = h.derive(password, keyBytes)
	return h.String(), nil
}

// phc is a parsed hash: $argon2id$v=19$m=19456,t=2,p=1$salt$key, where salt and
// key are in base64 without padding.
type phc struct {
	Params
	salt, key []byte
}

func (h phc) derive(password []byte, n uint32) []byte {
	return argon2.IDKey(password, h.salt, h.Time, h.MemoryKiB, h.Threads, n)
}

func (h phc) matches(password []byte) bool {
	return subtle.ConstantTimeCompare(h.derive(password, uint32(len(h.key))), h.key) == 1
}

func (h phc) String() string {
	enc := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version,
		h.MemoryKiB, h.Time, h.Threads, enc.EncodeToString(h.salt), enc.EncodeToString(h.key))
}

func parsePHC(s string) (phc, error) {
	part := strings.Split(s, "$")
	if len(part) != 6 || part[0] != "" || part[1] != "argon2id" || part[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return phc{}, errHash
	}
	var h phc
	if _, err := fmt.Sscanf(part[3], "m=%d,t=%d,p=%d", &h.MemoryKiB, &h.Time, &h.Threads); err != nil {
		return phc{}, errHash
	}
	var err1, err2 error
	h.salt, err1 = base64.RawStdEncoding.DecodeString(part[4])
	h.key, err2 = base64.RawStdEncoding.DecodeString(part[5])
	ok := err1 == nil && err2 == nil && h.validate() == nil &&
		len(h.salt) >= minSalt && len(h.salt) <= maxSalt && len(h.key) >= minKey && len(h.key) <= maxKey
	if !ok || h.String() != s { // one hash has one form; Sscanf is lenient
		return phc{}, errHash
	}
	return h, nil
}

// unmatchable returns a hash that costs what p says and that no password has.
func unmatchable(p Params) phc {
	return phc{Params: p, salt: random(saltBytes), key: random(keyBytes)}
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails: crypto/rand ends the process instead
	return b
}
