package auth

import (
	"time"

	"tidings/chat"
	"tidings/hooks"
)

// Cheap is a cost that tests can pay.
var Cheap = Params{MemoryKiB: 8, Time: 1, Threads: 1}

// The wrong passwords that cost no delay.
var (
	FreeForUser    = patienceForUser.free
	FreeForAddress = patienceForAddress.free
)

// MatchesHash tells whether the password is the one of a stored hash.
func MatchesHash(hash string, password []byte) (bool, error) {
	h, err := parsePHC(hash)
	if err != nil {
		return false, err
	}
	return h.matches(password), nil
}

// VerifierOf is NewVerifier with salt and cost.
func VerifierOf(password, salt []byte, iterations int) (string, error) {
	return verifierOf(password, salt, iterations)
}

// ReadVerifier parses a verifier and writes it again.
func ReadVerifier(s string) (string, error) {
	c, err := parseVerifier(s)
	if err != nil {
		return "", err
	}
	return formatVerifier(&c), nil
}

// MaxScramMessage is the longest message that is read.
const MaxScramMessage = maxScramMessage

// FixNonce makes the server's part of an exchange's nonce known.
func FixNonce(x hooks.Exchange, nonce string) {
	x.(*exchange).nonce = func() string { return nonce }
}

// HoldGate takes a slot of the gate until the returned function is called.
func HoldGate(a *Authenticator) (release func()) {
	a.gate.slots <- struct{}{}
	return a.gate.leave
}

// Throttle is a throttle of strings.
type Throttle struct{ *throttle[string] }

// NewThrottle makes one with two free failures, then delays from 1 s to 8 s, and
// a minute to forget.
func NewThrottle(limit int) Throttle {
	p := patience{free: 2, first: time.Second, longest: 8 * time.Second, forget: time.Minute}
	return Throttle{newThrottle[string](p, limit)}
}

func (t Throttle) Blocked(key string) bool { return t.blocked(key) }
func (t Throttle) Failed(key string)       { t.failed(key) }
func (t Throttle) Succeeded(key string)    { t.succeeded(key) }
func (t Throttle) Len() int                { return len(t.entries) }

// Verified is the memory of right passwords.
type Verified struct{ v *verified }

func NewVerified(limit int) Verified { return Verified{newVerified(limit)} }

func (v Verified) Add(u chat.UserID, hash, password string) { v.v.add(u, hash, []byte(password)) }
func (v Verified) Has(u chat.UserID, hash, password string) bool {
	return v.v.has(u, hash, []byte(password))
}
func (v Verified) Len() int { return len(v.v.young) + len(v.v.old) }
