package auth_test

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"

	"tidings/chat"
	"tidings/hooks"
	"tidings/hooks/auth"
	"tidings/storage"
)

var _ auth.Accounts = storage.Store(nil)

var errNoDevice = errors.New("no such device")

// accounts is what a store would hold. It is not changed while it is in use.
type accounts struct {
	users   []chat.User
	devices []chat.Device
	down    error
	reads   atomic.Int64
}

func (s *accounts) UsersByName(_ context.Context, names []string) ([]chat.User, error) {
	s.reads.Add(1)
	out := make([]chat.User, len(names))
	for i, name := range names {
		for _, u := range s.users {
			if u.Name == name {
				out[i] = u
			}
		}
	}
	return out, s.down
}

func (s *accounts) DeviceByName(_ context.Context, user chat.UserID, name string) (chat.Device, error) {
	s.reads.Add(1)
	for _, d := range s.devices {
		if d.User == user && d.Name == name {
			return d, s.down
		}
	}
	return chat.Device{}, errors.Join(errNoDevice, s.down)
}

func (s *accounts) DevicesOf(_ context.Context, user chat.UserID) ([]chat.Device, error) {
	s.reads.Add(1)
	var out []chat.Device
	for _, d := range s.devices {
		if d.User == user {
			out = append(out, d)
		}
	}
	return out, s.down
}

// world is an authenticator over a few accounts, with the secrets of these.
type world struct {
	*auth.Authenticator
	accounts                   *accounts
	phone, lost, gone, foreign string // tokens
}

// verifierOf keeps verifiers by password: each costs milliseconds.
var verifierOf sync.Map

func verifier(t testing.TB, password string) string {
	t.Helper()
	if v, ok := verifierOf.Load(password); ok {
		return v.(string)
	}
	v, err := auth.NewVerifier([]byte(password))
	if err != nil {
		t.Fatal(err)
	}
	verifierOf.Store(password, v)
	return v
}

// newWorld makes alice (id 1) with the devices phone (token), old (password),
// lost (revoked, with token) and the password "alice-demo"; bob (2), who has no
// password but a device phone; carol (3) disabled and dave (4) removed, whose
// passwords are NAME-demo and who have a device phone each.
func newWorld(t testing.TB, c auth.Config) *world {
	t.Helper()
	secret := func(password string) (c chat.Credentials) {
		var err error
		if c.Password, err = auth.HashPassword([]byte(password), auth.Cheap); err != nil {
			t.Fatal(err)
		}
		c.SCRAM = verifier(t, password)
		return c
	}
	w := &world{}
	var phoneSum, lostSum, goneSum, foreignSum []byte
	w.phone, phoneSum = auth.NewToken()
	w.lost, lostSum = auth.NewToken()
	w.gone, goneSum = auth.NewToken()
	w.foreign, foreignSum = auth.NewToken()
	w.accounts = &accounts{
		users: []chat.User{
			{ID: 1, Name: "alice", Credentials: secret("alice-demo")},
			{ID: 2, Name: "bob"},
			{ID: 3, Name: "carol", Credentials: secret("carol-demo"), Disabled: true},
			{ID: 4, Name: "dave", Credentials: secret("dave-demo"), Removed: true},
			{ID: 5, Name: "eve", Credentials: chat.Credentials{Password: "not a hash", SCRAM: "not a verifier"}},
		},
		devices: []chat.Device{
			{ID: 11, User: 1, Name: "phone", Token: phoneSum},
			{ID: 12, User: 1, Name: "old"},
			{ID: 13, User: 1, Name: "lost", Token: lostSum, Revoked: true},
			{ID: 21, User: 2, Name: "phone", Token: foreignSum},
			{ID: 31, User: 3, Name: "phone", Token: goneSum},
			{ID: 41, User: 4, Name: "phone", Token: goneSum},
			{ID: 99, User: 0, Name: "phone", Token: phoneSum}, // must never be reached
		},
	}
	c.NotFound = errNoDevice
	c.Argon2 = auth.Cheap
	a, err := auth.New(w.accounts, c)
	if err != nil {
		t.Fatal(err)
	}
	w.Authenticator = a
	return w
}

var home = netip.MustParseAddrPort("192.0.2.7:4711")

func (w *world) login(t testing.TB, user, client, password string) (hooks.Grant, error) {
	t.Helper()
	return w.loginFrom(t, home, user, client, password)
}

func (w *world) loginFrom(t testing.TB, from netip.AddrPort, user, client, password string) (hooks.Grant, error) {
	t.Helper()
	l := &hooks.Login{User: user, Client: client, Password: []byte(password), Remote: from, Protocol: "mqtt5"}
	return w.Authenticate(t.Context(), l)
}
