package auth_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tidings/chat"
	"tidings/hooks/auth"
)

func TestHashPassword(t *testing.T) {
	hash, err := auth.HashPassword([]byte("secret"), auth.Params{})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$") || strings.Contains(hash, "secret") {
		t.Errorf("hash = %s", hash)
	}
	again, _ := auth.HashPassword([]byte("secret"), auth.Params{})
	if again == hash {
		t.Error("two hashes of one password are the same: no salt")
	}
	for password, want := range map[string]bool{"secret": true, "Secret": false, "": false} {
		if got, err := auth.MatchesHash(hash, []byte(password)); err != nil || got != want {
			t.Errorf("MatchesHash(%q) = %v, %v; want %v", password, got, err, want)
		}
	}
}

// The vector was made by the reference implementation.
func TestHashOfOthers(t *testing.T) {
	const hash = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"
	if ok, err := auth.MatchesHash(hash, []byte("password")); err != nil || !ok {
		t.Errorf("MatchesHash = %v, %v; want true", ok, err)
	}
}

func TestHashPasswordRefuses(t *testing.T) {
	token, _ := auth.NewToken()
	for name, password := range map[string]string{
		"empty": "", "too long": strings.Repeat("x", auth.MaxPassword+1), "a token": token,
	} {
		_, err := auth.HashPassword([]byte(password), auth.Cheap)
		if !errors.Is(err, auth.ErrPassword) || password != "" && strings.Contains(err.Error(), password) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := auth.HashPassword([]byte("tdt_rue"), auth.Cheap); err != nil {
		t.Errorf("a password that only begins like a token: %v", err)
	}
	if _, err := auth.HashPassword([]byte("x"), auth.Params{MemoryKiB: 1}); err == nil {
		t.Error("a cost out of bounds is accepted")
	}
}

func TestBadHashes(t *testing.T) {
	const salt, key = "c29tZXNhbHRzb21lc2FsdA", "MDEyMzQ1Njc4OWFiY2RlZg"
	good := "$argon2id$v=19$m=8,t=1,p=1$" + salt + "$" + key
	if _, err := auth.MatchesHash(good, nil); err != nil {
		t.Fatalf("%s: %v", good, err)
	}
	for _, hash := range []string{
		"", "secret", "$", strings.Repeat("$", 5), good + "$", good + "=",
		"$argon2i$v=19$m=8,t=1,p=1$" + salt + "$" + key,
		"$argon2id$v=16$m=8,t=1,p=1$" + salt + "$" + key,
		"$argon2id$v=19$m=8,t=1,p=1,x=1$" + salt + "$" + key,
		"$argon2id$v=19$m=08,t=1,p=1$" + salt + "$" + key,
		"$argon2id$v=19$m=8,t=0,p=1$" + salt + "$" + key,
		"$argon2id$v=19$m=8,t=1,p=0$" + salt + "$" + key,
		"$argon2id$v=19$m=8,t=1,p=256$" + salt + "$" + key,
		"$argon2id$v=19$m=2097152,t=1,p=1$" + salt + "$" + key,
		"$argon2id$v=19$m=8,t=65,p=1$" + salt + "$" + key,
		"$argon2id$v=19$m=8,t=1,p=1$YQ$" + key,
		"$argon2id$v=19$m=8,t=1,p=1$" + salt + "$YQ",
		"$argon2id$v=19$m=8,t=1,p=1$" + salt + "$!!!",
	} {
		if _, err := auth.MatchesHash(hash, nil); err == nil {
			t.Errorf("%q is accepted", hash)
		}
	}
}

func TestNewToken(t *testing.T) {
	text, hash := auth.NewToken()
	if len(text) != 47 || !strings.HasPrefix(text, "tdt_") {
		t.Errorf("token has %d characters, want 47 from tdt_ on", len(text))
	}
	if sum := sha256.Sum256([]byte(text)); string(sum[:]) != string(hash) {
		t.Error("the hash is not the SHA-256 of the text")
	}
	if again, _ := auth.NewToken(); again == text {
		t.Error("two tokens are the same")
	}
}

func TestThrottle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := auth.NewThrottle(100)
		var delays []time.Duration
		for range 8 {
			th.Failed("a")
			began := time.Now()
			for th.Blocked("a") {
				time.Sleep(time.Second)
			}
			delays = append(delays, time.Since(began)/time.Second)
		}
		if got, want := fmt.Sprint(delays), "[0s 0s 1ns 2ns 4ns 8ns 8ns 8ns]"; got != want {
			t.Errorf("delays = %v, want %v", got, want)
		}
		th.Failed("a")
		if th.Blocked("b") {
			t.Error("another key is blocked")
		}
		th.Succeeded("a")
		th.Failed("a")
		if th.Blocked("a") {
			t.Error("failures outlive a success")
		}
		for range 5 {
			th.Failed("c")
		}
		time.Sleep(time.Minute + time.Second)
		th.Failed("c")
		if th.Blocked("c") {
			t.Error("failures are not forgotten")
		}
	})
}

func TestThrottleIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := auth.NewThrottle(4)
		for range 3 {
			th.Failed("worst")
		}
		for i := range 1000 {
			th.Failed(fmt.Sprint(i))
		}
		if th.Len() != 4 {
			t.Errorf("%d entries, want 4", th.Len())
		}
		if !th.Blocked("worst") {
			t.Error("the worst was dropped for milder ones")
		}
	})
}

func TestVerifiedIsBounded(t *testing.T) {
	v := auth.NewVerified(10)
	for i := range 1000 {
		v.Add(chat.UserID(i+1), "hash", "password")
		v.Add(1_000_000, "hash", "often")
		if !v.Has(chat.UserID(i+1), "hash", "password") {
			t.Fatalf("user %d was not remembered", i+1)
		}
		if v.Len() > 10 {
			t.Fatalf("%d users remembered, want at most 10", v.Len())
		}
	}
	if v.Has(1, "hash", "password") {
		t.Error("the first is still remembered")
	}
	none := auth.NewVerified(-1)
	none.Add(1, "hash", "password")
	if none.Has(1, "hash", "password") {
		t.Error("remembered although switched off")
	}
}

func TestVerifiedKeepsWhoComesOften(t *testing.T) {
	v := auth.NewVerified(10)
	v.Add(1, "hash", "password")
	for i := range 1000 {
		v.Add(chat.UserID(i+2), "hash", "password")
		if !v.Has(1, "hash", "password") {
			t.Fatalf("forgotten after %d others", i+1)
		}
	}
	if v.Has(1, "hash", "other") || v.Has(1, "other", "password") {
		t.Error("another password or hash passes")
	}
}
