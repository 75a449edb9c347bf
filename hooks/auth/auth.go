package auth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"net/netip"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/xdg-go/scram"

	"tidings/chat"
)

// Accounts is what the authenticator reads; storage.Store is one. The methods
// behave as in storage.Accounts and storage.Devices.
type Accounts interface {
	UsersByName(ctx context.Context, names []string) ([]chat.User, error)
	DeviceByName(ctx context.Context, user chat.UserID, name string) (chat.Device, error)
	DevicesOf(ctx context.Context, user chat.UserID) ([]chat.Device, error)
}

// Config is what New needs. Zero means the default of each field.
type Config struct {
	// NotFound is what the error of Accounts.DeviceByName Is when there is no such
	// device, that is storage.ErrNotFound. Required.
	NotFound error

	// Argon2 is the cost of new hashes, see Authenticator.Hash, and what is spent on
	// a user that does not exist. Stored hashes carry their own.
	Argon2 Params

	// Secret is what the salts of users who do not exist are made from: SecretBytes
	// random bytes, the same at each start and on each node, or the salts that do not
	// stay would tell who is missing. nil: random ones of this process.
	Secret []byte

	Concurrency int // argon2id computations at once; 0: half of the CPUs, at least 1
	Queue       int // logins that may wait for one; 0: 128, negative: none
	Remember    int // users whose right password is remembered; 0: 16,384, negative: none
}

// How wrong passwords are answered. One address guessing one user is slowed down
// soon; one address as a whole later and less, since many people may share it.
// Passwords that are remembered and tokens are let in all the same.
var (
	patienceForUser    = patience{free: 10, first: time.Second, longest: 5 * time.Minute, forget: 15 * time.Minute}
	patienceForAddress = patience{free: 100, first: time.Second, longest: 10 * time.Second, forget: 15 * time.Minute}
)

// throttleEntries bounds each of the two tables of failures.
const throttleEntries = 1 << 16

// Authenticator is a hooks.Authenticator for passwords and device tokens, and a
// hooks.Exchanger for SCRAM-SHA-256: see the package documentation. It has no goroutines and is safe for concurrent use.
type Authenticator struct {
	// Fixed after New.
	accounts Accounts
	notFound error
	params   Params
	nobody   phc // stands in for the hash of who has none
	seed     maphash.Seed
	secret   []byte

	noVerifier string // is parsed for who has none

	gate      *gate
	verified  *verified
	users     *throttle[guess]
	addresses *throttle[netip.Prefix]

	counts struct {
		tokens, passwords, remembered, exchanges, refused, throttled, busy, unavailable atomic.Uint64
	}
}

// guess is who tries to be whom. The name is hashed, since it is the client's.
type guess struct {
	from netip.Prefix
	name uint64
}

// New checks the configuration and makes an authenticator.
func New(accounts Accounts, c Config) (*Authenticator, error) {
	if c.NotFound == nil {
		return nil, errors.New("auth: NotFound is missing")
	}
	params := c.Argon2.withDefaults()
	if err := params.validate(); err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	switch len(c.Secret) {
	case SecretBytes:
	case 0:
		c.Secret = random(SecretBytes)
	default:
		return nil, fmt.Errorf("auth: the secret has %d bytes: want %d", len(c.Secret), SecretBytes)
	}
	if c.Concurrency <= 0 {
		c.Concurrency = max(1, runtime.GOMAXPROCS(0)/2)
	}
	if c.Queue == 0 {
		c.Queue = 128
	}
	if c.Remember == 0 {
		c.Remember = 16_384
	}
	return &Authenticator{
		accounts: accounts,
		notFound: c.NotFound,
		params:   params,
		nobody:   unmatchable(params),
		seed:     maphash.MakeSeed(),
		secret:   bytes.Clone(c.Secret),
		noVerifier: formatVerifier(&scram.StoredCredentials{
			KeyFactors: scram.KeyFactors{Salt: string(random(saltBytes)), Iters: ScramIterations},
			StoredKey:  random(verifierKey), ServerKey: random(verifierKey),
		}),
		gate:      newGate(c.Concurrency, max(c.Queue, 0)),
		verified:  newVerified(c.Remember),
		users:     newThrottle[guess](patienceForUser, throttleEntries),
		addresses: newThrottle[netip.Prefix](patienceForAddress, throttleEntries),
	}, nil
}

// Stats counts logins by what became of them, since the start.
type Stats struct {
	Tokens     uint64 // let in by token
	Passwords  uint64 // let in by password, with a computation of argon2id
	Remembered uint64 // let in by password, without
	Exchanges  uint64 // let in by SCRAM

	Refused     uint64 // hooks.ErrBadCredentials
	Throttled   uint64 // hooks.ErrBusy after too many wrong passwords
	Busy        uint64 // hooks.ErrBusy because too many logins waited for argon2id
	Unavailable uint64 // hooks.ErrUnavailable
}

// Stats returns the counts.
func (a *Authenticator) Stats() Stats {
	c := &a.counts
	return Stats{
		Tokens: c.tokens.Load(), Passwords: c.passwords.Load(), Remembered: c.remembered.Load(), Exchanges: c.exchanges.Load(),
		Refused: c.refused.Load(), Throttled: c.throttled.Load(), Busy: c.busy.Load(), Unavailable: c.unavailable.Load(),
	}
}

// Hash returns what to store of a new password, as HashPassword and NewVerifier
// make it, within the same bound as logins: hooks.ErrBusy if it would have to wait
// for too long.
func (a *Authenticator) Hash(ctx context.Context, password []byte) (c chat.Credentials, err error) {
	if err := a.gate.enter(ctx); err != nil {
		return c, err
	}
	defer a.gate.leave()
	if c.Password, err = HashPassword(password, a.params); err != nil {
		return chat.Credentials{}, err
	}
	if c.SCRAM, err = NewVerifier(password); err != nil {
		return chat.Credentials{}, err
	}
	return c, nil
}
