package auth_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/xdg-go/scram"

	"tidings/chat"
	"tidings/hooks"
	"tidings/hooks/auth"
)

// The example of RFC 7677, section 3.
const (
	rfcFirst       = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
	rfcServerNonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
	rfcServerFirst = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
	rfcFinal       = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
	rfcServerFinal = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
	rfcSalt        = "W22ZaJ0SNY7soEsUEjb6gQ=="
)

// rfcWorld has the user of the example beside the others, and the exchange whose
// nonce is the example's.
func rfcWorld(t testing.TB, l *hooks.Login) (*world, hooks.Exchange) {
	t.Helper()
	w := newWorld(t, auth.Config{})
	salt, err := base64.StdEncoding.DecodeString(rfcSalt)
	if err != nil {
		t.Fatal(err)
	}
	v, err := auth.VerifierOf([]byte("pencil"), salt, 4096)
	if err != nil {
		t.Fatal(err)
	}
	w.accounts.users = append(w.accounts.users, chat.User{ID: 7, Name: "user", Credentials: chat.Credentials{SCRAM: v}})
	x, err := w.Authenticator.Begin(t.Context(), l, auth.ScramMethod)
	if err != nil {
		t.Fatal(err)
	}
	auth.FixNonce(x, rfcServerNonce)
	return w, x
}

func TestScramVector(t *testing.T) {
	w, x := rfcWorld(t, &hooks.Login{Client: "phone", Remote: home})
	step, err := x.Next(t.Context(), []byte(rfcFirst))
	if err != nil || string(step.Data) != rfcServerFirst || step.Done {
		t.Fatalf("server-first %q %v, want %q", step.Data, err, rfcServerFirst)
	}
	step, err = x.Next(t.Context(), []byte(rfcFinal))
	if err != nil || string(step.Data) != rfcServerFinal || !step.Done {
		t.Fatalf("server-final %q %v, want %q", step.Data, err, rfcServerFinal)
	}
	if want := (hooks.Grant{User: 7, Device: "phone", ByWord: true}); step.Grant != want {
		t.Errorf("granted %+v, want %+v", step.Grant, want)
	}
	if got := w.Stats(); got != (auth.Stats{Exchanges: 1}) {
		t.Errorf("Stats = %+v", got)
	}
}

// prove runs an exchange as somebody who knows the password, and verifies the
// server's proof.
func (w *world) prove(t testing.TB, l *hooks.Login, user, as, password string) (hooks.Grant, error) {
	t.Helper()
	client, err := scram.SHA256.NewClientUnprepped(user, password, as)
	if err != nil {
		t.Fatal(err)
	}
	x, err := w.Authenticator.Begin(t.Context(), l, auth.ScramMethod)
	if err != nil {
		t.Fatal(err)
	}
	conversation, heard := client.NewConversation(), ""
	for {
		said, err := conversation.Step(heard)
		if err != nil {
			t.Fatal(err)
		}
		if conversation.Done() {
			t.Fatal("the server never came to an end")
		}
		step, err := x.Next(t.Context(), []byte(said))
		if err != nil {
			return hooks.Grant{}, err
		}
		if heard = string(step.Data); step.Done {
			if _, err := conversation.Step(heard); err != nil || !conversation.Valid() {
				t.Errorf("the server did not prove that it knows the password: %v", err)
			}
			return step.Grant, nil
		}
	}
}

func TestScram(t *testing.T) {
	w := newWorld(t, auth.Config{})
	w.accounts.users = append(
		w.accounts.users,
		chat.User{ID: 6, Name: "frank", Credentials: chat.Credentials{Password: w.accounts.users[0].Password}},
		chat.User{ID: 7, Name: "grace", Credentials: chat.Credentials{SCRAM: verifier(t, "a\u00a0\U0001f511")}},
		chat.User{ID: 8, Name: "heidi", Credentials: chat.Credentials{SCRAM: verifier(t, "I\u00adX \u2168")}},
	)
	bad := hooks.ErrBadCredentials
	for _, tc := range []struct {
		name, given, client, user, as, password string
		want                                    hooks.Grant
		err                                     error
	}{
		{"device by password", "alice", "old", "alice", "", "alice-demo", hooks.Grant{User: 1, Device: "old", ID: 12, ByWord: true}, nil},
		{"device with a token", "alice", "phone", "alice", "", "alice-demo", hooks.Grant{User: 1, Device: "phone", ID: 11, ByWord: true}, nil},
		{"new device", "alice", "tablet", "alice", "", "alice-demo", hooks.Grant{User: 1, Device: "tablet", ByWord: true}, nil},
		{"guest", "alice", "", "alice", "", "alice-demo", hooks.Grant{User: 1, ByWord: true, Guest: true}, nil},
		{"no user name in CONNECT", "", "old", "alice", "", "alice-demo", hooks.Grant{User: 1, Device: "old", ID: 12, ByWord: true}, nil},
		{"AWS suffix in CONNECT", "alice?SDK=x", "old", "alice", "", "alice-demo", hooks.Grant{User: 1, Device: "old", ID: 12, ByWord: true}, nil},
		{"as oneself", "", "old", "alice", "alice", "alice-demo", hooks.Grant{User: 1, Device: "old", ID: 12, ByWord: true}, nil},
		{"password that SASLprep forbids", "", "", "grace", "", "a\u00a0\U0001f511", hooks.Grant{User: 7, ByWord: true, Guest: true}, nil},
		{"password that SASLprep changes", "", "", "heidi", "", "IX IX", hooks.Grant{User: 8, ByWord: true, Guest: true}, nil},
		{"revoked device", "alice", "lost", "alice", "", "alice-demo", hooks.Grant{}, bad},
		{"wrong password", "alice", "old", "alice", "", "alice-dem0", hooks.Grant{}, bad},
		{"as somebody else", "", "old", "alice", "bob", "alice-demo", hooks.Grant{}, bad},
		{"another user name in CONNECT", "bob", "old", "alice", "", "alice-demo", hooks.Grant{}, bad},
		{"user without password", "", "phone", "bob", "", "bob-demo", hooks.Grant{}, bad},
		{"password from before verifiers", "", "phone", "frank", "", "alice-demo", hooks.Grant{}, bad},
		{"broken verifier", "", "phone", "eve", "", "not a verifier", hooks.Grant{}, bad},
		{"unknown user", "", "phone", "nobody", "", "nobody-demo", hooks.Grant{}, bad},
		{"empty user", "", "phone", "", "", "x", hooks.Grant{}, bad},
		{"not a user name", "", "phone", "Alice,=", "", "alice-demo", hooks.Grant{}, bad},
		{"disabled user", "", "phone", "carol", "", "carol-demo", hooks.Grant{}, bad},
		{"removed user", "", "phone", "dave", "", "dave-demo", hooks.Grant{}, bad},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := &hooks.Login{User: tc.given, Client: tc.client, Remote: home, Protocol: "mqtt5"}
			got, err := w.prove(t, l, tc.user, tc.as, tc.password)
			if !errors.Is(err, tc.err) || got != tc.want {
				t.Errorf("granted %+v, %v; want %+v, %v", got, err, tc.want, tc.err)
			}
		})
	}
}

func TestScramIsAskedByItsName(t *testing.T) {
	w := newWorld(t, auth.Config{})
	for _, method := range []string{"", "SCRAM-SHA-1", "scram-sha-256", "SCRAM-SHA-256-PLUS", "PLAIN"} {
		if _, err := w.Authenticator.Begin(t.Context(), &hooks.Login{User: "alice"}, method); !errors.Is(err, hooks.ErrNotMine) {
			t.Errorf("Begin of %q: %v, want ErrNotMine", method, err)
		}
	}
}

func TestScramWithoutFirstMessage(t *testing.T) {
	_, x := rfcWorld(t, &hooks.Login{Client: "phone"})
	step, err := x.Next(t.Context(), nil)
	if err != nil || len(step.Data) != 0 || step.Done {
		t.Fatalf("asked for the first message: %+v, %v", step, err)
	}
	if step, err = x.Next(t.Context(), []byte(rfcFirst)); err != nil || string(step.Data) != rfcServerFirst {
		t.Errorf("server-first %q, %v", step.Data, err)
	}
	_, x = rfcWorld(t, &hooks.Login{Client: "phone"})
	x.Next(t.Context(), nil)
	if _, err := x.Next(t.Context(), nil); !errors.Is(err, hooks.ErrBadCredentials) {
		t.Errorf("no message twice: %v", err)
	}
}

func TestScramRefusesBrokenMessages(t *testing.T) {
	nonce := strings.TrimSuffix(strings.TrimPrefix(rfcFinal, "c=biws,"), rfcFinal[strings.Index(rfcFinal, ",p="):])
	proof := rfcFinal[strings.Index(rfcFinal, "p="):]
	for _, tc := range []struct{ name, first, final string }{
		{"nothing", "", ""},
		{"no binding flag", "x,,n=user,r=abc", ""},
		{"channel binding", "p=tls-unique,,n=user,r=abc", ""},
		{"mandatory extension", "n,,m=ext,n=user,r=abc", ""},
		{"bad name", "n,,n=us=er,r=abc", ""},
		{"no nonce", "n,,n=user", ""},
		{"too long", rfcFirst + strings.Repeat("x", auth.MaxScramMessage), ""},
		{"empty final", rfcFirst, ""},
		{"other binding", rfcFirst, "c=eSws," + nonce + "," + proof},
		{"other nonce", rfcFirst, "c=biws," + nonce + "x," + proof},
		{"client's part of the nonce only", rfcFirst, "c=biws,r=rOprNGfwEbeRWgbNEkqO," + proof},
		{"no proof", rfcFirst, "c=biws," + nonce},
		{"short proof", rfcFirst, "c=biws," + nonce + ",p=dHzb"},
		{"empty proof", rfcFirst, "c=biws," + nonce + ",p="},
		{"extension that is not in the proof", rfcFirst, "c=biws," + nonce + ",x=1," + proof},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, x := rfcWorld(t, &hooks.Login{Client: "phone"})
			_, err := x.Next(t.Context(), []byte(tc.first))
			if tc.first == rfcFirst {
				if err != nil {
					t.Fatal(err)
				}
				_, err = x.Next(t.Context(), []byte(tc.final))
			}
			if !errors.Is(err, hooks.ErrBadCredentials) {
				t.Fatalf("error %v, want ErrBadCredentials", err)
			}
			if err.Error() != hooks.ErrBadCredentials.Error() {
				t.Errorf("the error %q quotes the client", err)
			}
		})
	}
}

// salt is what a stranger sees of a user.
func (w *world) salt(t testing.TB, user string) string {
	t.Helper()
	x, err := w.Authenticator.Begin(t.Context(), &hooks.Login{Client: "phone", Remote: home}, auth.ScramMethod)
	if err != nil {
		t.Fatal(err)
	}
	step, err := x.Next(t.Context(), []byte("n,,n="+user+",r=abc"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(step.Data), ",")
	return rest
}

// Whether a user exists must show in neither messages nor work.
func TestScramHidesWhoExists(t *testing.T) {
	secret := auth.Config{Secret: bytes.Repeat([]byte{7}, auth.SecretBytes)}
	w, again := newWorld(t, secret), newWorld(t, secret)
	seen := make(map[string]string)
	for _, user := range []string{"alice", "bob", "carol", "dave", "eve", "nobody", "nobody2"} {
		before := w.accounts.reads.Load()
		salt := w.salt(t, user)
		if n := w.accounts.reads.Load() - before; n != 1 {
			t.Errorf("%s: %d reads, want 1", user, n)
		}
		if other := seen[salt]; other != "" {
			t.Errorf("%s and %s have one salt", user, other)
		}
		seen[salt] = user
		if w.salt(t, user) != salt || again.salt(t, user) != salt {
			t.Errorf("the salt of %s is not the same each time", user)
		}
		if want := len(w.salt(t, "alice")); len(salt) != want || !strings.HasSuffix(salt, ",i=15000") {
			t.Errorf("%s has %s, unlike alice", user, salt)
		}
		before = w.accounts.reads.Load()
		w.prove(t, &hooks.Login{Client: "phone", Remote: home}, user, "", "guess")
		if n := w.accounts.reads.Load() - before; n != 2 {
			t.Errorf("a guess at %s: %d reads, want 2", user, n)
		}
	}
	if newWorld(t, auth.Config{}).salt(t, "nobody") == w.salt(t, "nobody") {
		t.Error("another secret gives the same salt")
	}
	if _, err := auth.New(w.accounts, auth.Config{NotFound: errNoDevice, Secret: []byte("short")}); err == nil {
		t.Error("a short secret was taken")
	}
}

// A wrong proof is a wrong password: the two are counted together.
func TestScramGuessing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, auth.Config{})
		l := &hooks.Login{Client: "old", Remote: home}
		early, err := w.Authenticator.Begin(t.Context(), l, auth.ScramMethod)
		if err != nil {
			t.Fatal(err)
		}
		step, err := early.Next(t.Context(), []byte("n,,n=alice,r=abc"))
		if err != nil {
			t.Fatal(err)
		}
		nonce, _, _ := strings.Cut(string(step.Data), ",")
		for i := range auth.FreeForUser + 1 {
			user := "alice"
			if i%2 == 1 {
				_, err = w.login(t, user, "old", "guess")
			} else {
				_, err = w.prove(t, l, user, "", "guess")
			}
			if !errors.Is(err, hooks.ErrBadCredentials) {
				t.Fatalf("guess %d: %v", i, err)
			}
		}
		if _, err := w.prove(t, l, "alice", "", "alice-demo"); !errors.Is(err, hooks.ErrBusy) {
			t.Errorf("after too many guesses: %v, want ErrBusy", err)
		}
		if _, err := early.Next(t.Context(), []byte("c=biws,"+nonce+",p="+strings.Repeat("A", 43)+"=")); !errors.Is(err, hooks.ErrBusy) {
			t.Errorf("a guess in an exchange that was open: %v, want ErrBusy", err)
		}
		if got := w.Stats(); got.Throttled != 2 || got.Refused != uint64(auth.FreeForUser+1) {
			t.Errorf("Stats = %+v", got)
		}
	})
}

func TestScramStoreUnavailable(t *testing.T) {
	w := newWorld(t, auth.Config{})
	x, err := w.Authenticator.Begin(t.Context(), &hooks.Login{Client: "old"}, auth.ScramMethod)
	if err != nil {
		t.Fatal(err)
	}
	step, err := x.Next(t.Context(), []byte("n,,n=alice,r=abc"))
	if err != nil {
		t.Fatal(err)
	}
	w.accounts.down = errors.New("connection refused")
	nonce, _, _ := strings.Cut(string(step.Data), ",")
	if _, err := x.Next(t.Context(), []byte("c=biws,"+nonce+",p=AAAA")); !errors.Is(err, hooks.ErrUnavailable) {
		t.Errorf("final: %v, want ErrUnavailable", err)
	}
	if _, err := w.prove(t, &hooks.Login{Client: "old"}, "alice", "", "alice-demo"); !errors.Is(err, hooks.ErrUnavailable) {
		t.Errorf("first: %v, want ErrUnavailable", err)
	}
	if got := w.Stats(); got != (auth.Stats{Unavailable: 2}) {
		t.Errorf("Stats = %+v", got)
	}
}

func TestVerifier(t *testing.T) {
	salt, _ := base64.StdEncoding.DecodeString(rfcSalt)
	got, err := auth.VerifierOf([]byte("pencil"), salt, 4096)
	const want = "SCRAM-SHA-256$4096:" + rfcSalt + "$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
	if err != nil || got != want {
		t.Errorf("verifier %q, %v; want %q", got, err, want)
	}
	one, _ := auth.NewVerifier([]byte("pencil"))
	two, _ := auth.NewVerifier([]byte("pencil"))
	if one == two || !strings.HasPrefix(one, "SCRAM-SHA-256$15000:") {
		t.Errorf("verifiers %q and %q", one, two)
	}
	for _, s := range []string{
		"", "SCRAM-SHA-256", want + "=", " " + want,
		strings.Replace(want, "4096", "4095", 1),
		strings.Replace(want, "4096", "04096", 1),
		strings.Replace(want, "4096", "99999999", 1),
		strings.Replace(want, "SHA-256", "SHA-1", 1),
		strings.Replace(want, rfcSalt, "W22Z", 1),
		strings.Replace(want, ":wfPL", ":", 1),
	} {
		if _, err := auth.ReadVerifier(s); err == nil {
			t.Errorf("%q was read", s)
		}
	}
}

// FuzzScram: whatever a client sends, nothing panics and nobody who does not know
// the password gets in.
func FuzzScram(f *testing.F) {
	f.Add([]byte(rfcFirst), []byte(rfcFinal))
	f.Add([]byte("y,a=user,n=user,r=rOprNGfwEbeRWgbNEkqO"), []byte("c=eSxhPXVzZXIs,r=x,p=AAAA"))
	f.Add([]byte("p=tls-exporter,,n=us=2Cer,r="), []byte("c=,r=,p="))
	f.Add([]byte("n,,n=nobody,r=abc"), []byte("c=biws,r=abc%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p="+strings.Repeat("A", 43)+"="))
	w, _ := rfcWorld(f, &hooks.Login{})
	f.Fuzz(func(t *testing.T, first, final []byte) {
		x, err := w.Authenticator.Begin(t.Context(), &hooks.Login{Client: "phone"}, auth.ScramMethod)
		if err != nil {
			t.Fatal(err)
		}
		auth.FixNonce(x, rfcServerNonce)
		step, err := x.Next(t.Context(), first)
		if err != nil {
			return
		}
		if step.Done {
			t.Fatalf("%q granted %+v", first, step.Grant)
		}
		step, err = x.Next(t.Context(), final)
		// The proof of the example fits its own messages only; base64 has more than one form.
		without, _, _ := strings.Cut(rfcFinal, ",p=")
		known := string(first) == rfcFirst && strings.HasPrefix(string(final), without+",p=")
		if err == nil && step.Done && !known {
			t.Fatalf("%q and %q granted %+v", first, final, step.Grant)
		}
	})
}

// FuzzVerifier: a verifier has one form.
func FuzzVerifier(f *testing.F) {
	f.Add("SCRAM-SHA-256$4096:" + rfcSalt + "$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=")
	f.Add("SCRAM-SHA-256$:$:")
	f.Fuzz(func(t *testing.T, s string) {
		if got, err := auth.ReadVerifier(s); err == nil && got != s {
			t.Fatalf("%q came back as %q", s, got)
		}
	})
}
