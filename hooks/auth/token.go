package auth

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
)

// tokenPrefix begins every token, so that a token is told from a password
// without a look at the store, and leaked ones can be searched for.
const tokenPrefix = "tdt_"

const tokenBytes = 32

var tokenLen = len(tokenPrefix) + base64.RawURLEncoding.EncodedLen(tokenBytes)

// NewToken makes a random device token: the text that the device keeps and sends
// as its MQTT password (47 characters: "tdt_" and 32 bytes in base64url), and the
// hash of it to store in chat.Device.Token. The text is a secret and cannot be
// had from the hash.
func NewToken() (text string, hash []byte) {
	text = tokenPrefix + base64.RawURLEncoding.EncodeToString(random(tokenBytes))
	sum := hashToken([]byte(text))
	return text, sum[:]
}

// hashToken returns the SHA-256 of a token's text. A token has 256 bits of
// entropy, so that a fast hash without salt is enough.
func hashToken(text []byte) [sha256.Size]byte { return sha256.Sum256(text) }

// isToken tells whether a password has the form of a token. No user's password
// has: see HashPassword.
func isToken(password []byte) bool {
	if len(password) != tokenLen || !bytes.HasPrefix(password, []byte(tokenPrefix)) {
		return false
	}
	for _, c := range password[len(tokenPrefix):] {
		ok := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_'
		if !ok {
			return false
		}
	}
	return true
}
