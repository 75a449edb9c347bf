package auth_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"tidings/hooks"
	"tidings/hooks/auth"
)

func TestAuthenticate(t *testing.T) {
	w := newWorld(t, auth.Config{})
	bad := hooks.ErrBadCredentials
	for _, tc := range []struct {
		name, user, client, password string
		want                         hooks.Grant
		err                          error
	}{
		{"password, device by password", "alice", "old", "alice-demo", hooks.Grant{User: 1, Device: "old", ID: 12, ByWord: true}, nil},
		{"password, device with a token", "alice", "phone", "alice-demo", hooks.Grant{User: 1, Device: "phone", ID: 11, ByWord: true}, nil},
		{"password, new device", "alice", "tablet", "alice-demo", hooks.Grant{User: 1, Device: "tablet", ByWord: true}, nil},
		{"password, client identifiers have case", "alice", "OLD", "alice-demo", hooks.Grant{User: 1, Device: "OLD", ByWord: true}, nil},
		{"password, guest", "alice", "", "alice-demo", hooks.Grant{User: 1, ByWord: true, Guest: true}, nil},
		{"password, revoked device", "alice", "lost", "alice-demo", hooks.Grant{}, bad},
		{"password, AWS suffix", "alice?SDK=CPPv2&Version=1.0", "old", "alice-demo", hooks.Grant{User: 1, Device: "old", ID: 12, ByWord: true}, nil},
		{"wrong password", "alice", "old", "alice-dem0", hooks.Grant{}, bad},
		{"empty password", "alice", "old", "", hooks.Grant{}, bad},
		{"endless password", "alice", "old", strings.Repeat("x", auth.MaxPassword+1), hooks.Grant{}, bad},
		{"user without password", "bob", "phone", "bob-demo", hooks.Grant{}, bad},
		{"hash as password", "eve", "phone", "not a hash", hooks.Grant{}, bad},
		{"unknown user", "nobody", "phone", "nobody-demo", hooks.Grant{}, bad},
		{"empty user", "", "phone", "x", hooks.Grant{}, bad},
		{"disabled user", "carol", "phone", "carol-demo", hooks.Grant{}, bad},
		{"removed user", "dave", "phone", "dave-demo", hooks.Grant{}, bad},

		{"token", "alice", "phone", w.phone, hooks.Grant{User: 1, Device: "phone", ID: 11}, nil},
		{"token, no client identifier", "alice", "", w.phone, hooks.Grant{User: 1, Device: "phone", ID: 11}, nil},
		{"token, AWS suffix", "alice?SDK=x", "phone", w.phone, hooks.Grant{User: 1, Device: "phone", ID: 11}, nil},
		{"token of another device", "alice", "old", w.phone, hooks.Grant{}, bad},
		{"token, new client identifier", "alice", "tablet", w.phone, hooks.Grant{}, bad},
		{"token of another user", "alice", "phone", w.foreign, hooks.Grant{}, bad},
		{"token of another user, no client identifier", "alice", "", w.foreign, hooks.Grant{}, bad},
		{"token of a revoked device", "alice", "lost", w.lost, hooks.Grant{}, bad},
		{"token of a revoked device, no client identifier", "alice", "", w.lost, hooks.Grant{}, bad},
		{"token, unknown user", "nobody", "phone", w.phone, hooks.Grant{}, bad},
		{"token, unknown user, no client identifier", "nobody", "", w.phone, hooks.Grant{}, bad},
		{"token, disabled user", "carol", "phone", w.gone, hooks.Grant{}, bad},
		{"token, removed user", "dave", "phone", w.gone, hooks.Grant{}, bad},
		{"token cut short", "alice", "phone", w.phone[:len(w.phone)-1], hooks.Grant{}, bad},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for range 2 { // the second time a right password is remembered
				got, err := w.login(t, tc.user, tc.client, tc.password)
				if !errors.Is(err, tc.err) || got != tc.want {
					t.Errorf("Authenticate = %+v, %v; want %+v, %v", got, err, tc.want, tc.err)
				}
			}
		})
	}
}

func TestNoPasswordIsForOthers(t *testing.T) {
	w := newWorld(t, auth.Config{})
	if _, err := w.Authenticate(t.Context(), &hooks.Login{User: "alice", Client: "phone"}); !errors.Is(err, hooks.ErrNotMine) {
		t.Errorf("Authenticate = %v, want ErrNotMine", err)
	}
}

func TestStoreUnavailable(t *testing.T) {
	w := newWorld(t, auth.Config{})
	w.accounts.down = errors.New("connection refused")
	for _, password := range []string{"alice-demo", w.phone} {
		_, err := w.login(t, "alice", "phone", password)
		if !errors.Is(err, hooks.ErrUnavailable) || !errors.Is(err, w.accounts.down) {
			t.Errorf("Authenticate = %v, want ErrUnavailable with its cause", err)
		}
	}
	if got := w.Stats(); got != (auth.Stats{Unavailable: 2}) {
		t.Errorf("Stats = %+v", got)
	}
}

// Whether a user exists must not show in the work done.
func TestStrangersCostTheSame(t *testing.T) {
	w := newWorld(t, auth.Config{})
	work := func(user, client, password string) int64 {
		before := w.accounts.reads.Load()
		w.login(t, user, client, password)
		return w.accounts.reads.Load() - before
	}
	for _, client := range []string{"phone", "tablet", ""} {
		for _, password := range []string{"guess", w.foreign} {
			known, unknown := work("alice", client, password), work("nobody", client, password)
			if known != unknown || known > 2 {
				t.Errorf("client %q: %d reads for a known user, %d for an unknown one, want the same and at most 2", client, known, unknown)
			}
		}
	}
}

func TestPasswordIsRememberedUntilItChanges(t *testing.T) {
	w := newWorld(t, auth.Config{})
	for range 5 {
		if _, err := w.login(t, "alice", "old", "alice-demo"); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := w.Stats(), (auth.Stats{Passwords: 1, Remembered: 4}); got != want {
		t.Errorf("Stats = %+v, want %+v", got, want)
	}
	hash, err := w.Hash(t.Context(), []byte("new"))
	if err != nil {
		t.Fatal(err)
	}
	w.accounts.users[0].Credentials = hash
	if _, err := w.login(t, "alice", "old", "alice-demo"); !errors.Is(err, hooks.ErrBadCredentials) {
		t.Errorf("the old password: %v", err)
	}
	if _, err := w.login(t, "alice", "old", "new"); err != nil {
		t.Errorf("the new password: %v", err)
	}
	w.accounts.users[0].Disabled = true
	if _, err := w.login(t, "alice", "old", "new"); !errors.Is(err, hooks.ErrBadCredentials) {
		t.Errorf("a remembered password of a disabled user: %v", err)
	}
}

func TestGuessingOneUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, auth.Config{})
		if _, err := w.login(t, "alice", "old", "alice-demo"); err != nil {
			t.Fatal(err)
		}
		guess := func(from netip.AddrPort, user string) error {
			_, err := w.loginFrom(t, from, user, "old", "guess")
			return err
		}
		// The same for users that exist and for others.
		for _, user := range []string{"alice", "nobody"} {
			for range auth.FreeForUser + 1 {
				if err := guess(home, user); !errors.Is(err, hooks.ErrBadCredentials) {
					t.Fatalf("a free guess at %s: %v", user, err)
				}
			}
			if err := guess(home, user); !errors.Is(err, hooks.ErrBusy) {
				t.Fatalf("one guess too many at %s: %v", user, err)
			}
		}
		if err := guess(netip.MustParseAddrPort("198.51.100.1:1"), "alice"); !errors.Is(err, hooks.ErrBadCredentials) {
			t.Errorf("a guess from elsewhere: %v", err)
		}
		for _, password := range []string{"alice-demo", w.phone} {
			if _, err := w.login(t, "alice", "phone", password); err != nil {
				t.Errorf("a remembered password or a token meanwhile: %v", err)
			}
		}
		time.Sleep(time.Second)
		if err := guess(home, "alice"); !errors.Is(err, hooks.ErrBadCredentials) {
			t.Errorf("a guess after the delay: %v", err)
		}
		time.Sleep(time.Second)
		if err := guess(home, "alice"); !errors.Is(err, hooks.ErrBusy) {
			t.Errorf("the second delay is not longer than the first: %v", err)
		}
		if got := w.Stats(); got.Throttled != 3 || got.Refused != uint64(2*auth.FreeForUser+4) {
			t.Errorf("Stats = %+v", got)
		}
	})
}

func TestGuessingFromOneAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, auth.Config{})
		from := func(last byte) netip.AddrPort { // one customer's addresses
			a := netip.MustParseAddr("2001:db8::").As16()
			a[15] = last
			return netip.AddrPortFrom(netip.AddrFrom16(a), 1)
		}
		for i := range auth.FreeForAddress + 1 {
			user := "user" + strings.Repeat("x", i)
			if _, err := w.loginFrom(t, from(byte(i)), user, "d", "guess"); !errors.Is(err, hooks.ErrBadCredentials) {
				t.Fatalf("guess %d: %v", i, err)
			}
		}
		if _, err := w.loginFrom(t, from(200), "another", "d", "guess"); !errors.Is(err, hooks.ErrBusy) {
			t.Errorf("one guess too many: %v", err)
		}
		// Where the address is not known nobody is punished for others.
		for i := range auth.FreeForAddress + 2 {
			user := "user" + strings.Repeat("y", i)
			if _, err := w.loginFrom(t, netip.AddrPort{}, user, "d", "guess"); !errors.Is(err, hooks.ErrBadCredentials) {
				t.Fatalf("guess %d from nowhere: %v", i, err)
			}
		}
	})
}

func TestBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, auth.Config{Concurrency: 1, Queue: 1})
		release := auth.HoldGate(w.Authenticator)
		ctx, cancel := context.WithCancel(t.Context())
		errs := make(chan error)
		login := &hooks.Login{User: "alice", Client: "old", Password: []byte("alice-demo"), Remote: home}
		go func() {
			_, err := w.Authenticate(ctx, login)
			errs <- err
		}()
		synctest.Wait()
		if _, err := w.login(t, "alice", "old", "alice-demo"); !errors.Is(err, hooks.ErrBusy) {
			t.Errorf("with a full queue: %v", err)
		}
		cancel()
		if err := <-errs; !errors.Is(err, hooks.ErrBusy) {
			t.Errorf("waiting past the deadline: %v", err)
		}
		// Two that wait with the same password cost one computation.
		go func() {
			_, err := w.Authenticate(t.Context(), login)
			errs <- err
		}()
		synctest.Wait()
		release()
		if err := <-errs; err != nil {
			t.Errorf("after waiting: %v", err)
		}
		if got, want := w.Stats(), (auth.Stats{Passwords: 1, Busy: 2}); got != want {
			t.Errorf("Stats = %+v, want %+v", got, want)
		}
	})
}

func TestDevicesAtOnceCostOneComputation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, auth.Config{Concurrency: 1})
		release := auth.HoldGate(w.Authenticator)
		errs := make(chan error)
		for range 20 {
			go func() {
				_, err := w.Authenticate(t.Context(), &hooks.Login{User: "alice", Client: "old", Password: []byte("alice-demo"), Remote: home})
				errs <- err
			}()
		}
		synctest.Wait()
		release()
		for range 20 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		if got, want := w.Stats(), (auth.Stats{Passwords: 1, Remembered: 19}); got != want {
			t.Errorf("Stats = %+v, want %+v", got, want)
		}
	})
}

func TestNewChecksItsConfig(t *testing.T) {
	for name, c := range map[string]auth.Config{
		"no NotFound":       {},
		"too little memory": {NotFound: errNoDevice, Argon2: auth.Params{MemoryKiB: 8, Threads: 2}},
		"too much memory":   {NotFound: errNoDevice, Argon2: auth.Params{MemoryKiB: 1 << 21}},
		"too much time":     {NotFound: errNoDevice, Argon2: auth.Params{Time: 65}},
	} {
		if _, err := auth.New(&accounts{}, c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestStatsCountTokens(t *testing.T) {
	w := newWorld(t, auth.Config{})
	w.login(t, "alice", "phone", w.phone)
	w.login(t, "alice", "phone", w.foreign)
	if diff := cmp.Diff(auth.Stats{Tokens: 1, Refused: 1}, w.Stats()); diff != "" {
		t.Errorf("Stats (-want +got):\n%s", diff)
	}
}

func BenchmarkToken(b *testing.B) {
	w := newWorld(b, auth.Config{})
	l := &hooks.Login{User: "alice", Client: "phone", Password: []byte(w.phone), Remote: home}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.Authenticate(b.Context(), l); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRememberedPassword(b *testing.B) {
	w := newWorld(b, auth.Config{})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.login(b, "alice", "old", "alice-demo"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkHashPassword(b *testing.B) {
	for b.Loop() {
		if _, err := auth.HashPassword([]byte("alice-demo"), auth.Params{}); err != nil {
			b.Fatal(err)
		}
	}
}

var _ hooks.Authenticator = (*auth.Authenticator)(nil)
