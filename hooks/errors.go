package hooks

import "errors"

// Outcomes of a login that are not grants. Who tries to enter learns of all but
// ErrBusy and ErrUnavailable only that he may not.
var (
	// ErrNotMine: the authenticator has no opinion; the next one is asked.
	ErrNotMine = errors.New("not a credential of this authenticator")

	// ErrBadCredentials: unknown user, wrong password or token, disabled user,
	// revoked device, or a token used with another client identifier.
	ErrBadCredentials = errors.New("bad user name or password")

	// ErrBusy: too many logins at once or from that address; later is fine.
	ErrBusy = errors.New("too many logins")

	// ErrUnavailable: the accounts cannot be read now.
	ErrUnavailable = errors.New("accounts are unavailable")
)

// Refusal is the answer of a plugin that refuses something and wants the client
// to know why. Code is one of the words of docs/errors.md, Message a sentence
// for people; neither holds message bodies or secrets.
type Refusal struct {
	Code    string
	Message string
}

// Error returns the code and the sentence.
func (r *Refusal) Error() string { return r.Code + ": " + r.Message }
