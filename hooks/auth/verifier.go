package auth

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/xdg-go/scram"
)

// ScramMethod is the name of the mechanism, as a client gives it in the
// Authentication Method of its CONNECT (RFC 7677).
const ScramMethod = "SCRAM-SHA-256"

// ScramIterations is the cost of new verifiers, in rounds of PBKDF2. It is what a
// small device can compute in a second or two when it logs in, and RFC 7677 asks
// for at least 4,096. It is a constant because all accounts have to show the same
// number: one that differs would tell that the account exists.
const ScramIterations = 15_000

// The bounds of what a stored verifier may hold.
const (
	minIterations = 4_096
	maxIterations = 10_000_000
	verifierKey   = 32 // bytes of SHA-256
)

var errVerifier = errors.New("not a SCRAM-SHA-256 verifier")

// NewVerifier returns the verifier of a password to store in chat.User.SCRAM:
//
//	SCRAM-SHA-256$15000:SALT$STOREDKEY:SERVERKEY
//
// with the last three in base64, the form of RFC 5803 with the order of fields
// that PostgreSQL writes. Whoever reads it can test guesses of the password at the
// price of ScramIterations, so that it is as secret as the hash beside it. A
// password that SASLprep does not allow is taken byte for byte.
func NewVerifier(password []byte) (string, error) {
	return verifierOf(password, random(saltBytes), ScramIterations)
}

func verifierOf(password, salt []byte, iterations int) (string, error) {
	client, err := scram.SHA256.NewClient("", string(password), "")
	if err != nil {
		client, err = scram.SHA256.NewClientUnprepped("", string(password), "")
	}
	if err != nil {
		return "", fmt.Errorf("make verifier: %w", err)
	}
	c, err := client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: string(salt), Iters: iterations})
	if err != nil {
		return "", fmt.Errorf("make verifier: %w", err)
	}
	return formatVerifier(&c), nil
}

func formatVerifier(c *scram.StoredCredentials) string {
	text := base64.StdEncoding.EncodeToString
	return ScramMethod + "$" + strconv.Itoa(c.Iters) + ":" + text([]byte(c.Salt)) + "$" + text(c.StoredKey) + ":" + text(c.ServerKey)
}

// parseVerifier reads what formatVerifier has written. One verifier has one form.
func parseVerifier(s string) (c scram.StoredCredentials, err error) {
	method, rest, _ := strings.Cut(s, "$")
	factors, keys, _ := strings.Cut(rest, "$")
	iterations, salt, _ := strings.Cut(factors, ":")
	stored, server, _ := strings.Cut(keys, ":")
	var errs [4]error
	var saltText []byte
	c.Iters, errs[0] = strconv.Atoi(iterations)
	saltText, errs[1] = base64.StdEncoding.DecodeString(salt)
	c.StoredKey, errs[2] = base64.StdEncoding.DecodeString(stored)
	c.ServerKey, errs[3] = base64.StdEncoding.DecodeString(server)
	c.Salt = string(saltText)
	ok := errors.Join(errs[:]...) == nil && method == ScramMethod && c.Iters >= minIterations && c.Iters <= maxIterations &&
		len(c.Salt) >= minSalt && len(c.Salt) <= maxSalt && len(c.StoredKey) == verifierKey && len(c.ServerKey) == verifierKey
	if !ok || formatVerifier(&c) != s {
		return scram.StoredCredentials{}, errVerifier
	}
	return c, nil
}
