package auth

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"hash/maphash"

	"github.com/xdg-go/scram"

	"tidings/chat"
	"tidings/hooks"
	"tidings/topics"
)

// maxScramMessage bounds a client's messages: a name, a nonce and a proof.
const maxScramMessage = 1024

// SecretBytes is the length of Config.Secret.
const SecretBytes = 32

// Begin implements hooks.Exchanger for ScramMethod.
//
// Strangers learn of an account from neither messages nor work: who does not exist
// or has no verifier has a salt made from the name and Config.Secret, and costs the
// same reads and the same computation.
func (a *Authenticator) Begin(_ context.Context, l *hooks.Login, method string) (hooks.Exchange, error) {
	if method != ScramMethod {
		return nil, hooks.ErrNotMine
	}
	x := &exchange{a: a, login: *l}
	x.login.User = userName(l.User)
	return x, nil
}

// exchange is one run of SCRAM: client-first, server-first, client-final,
// server-final (RFC 5802, section 5).
type exchange struct {
	a     *Authenticator
	login hooks.Login
	asked bool // the client gave no first message and was asked for it

	nonce        scram.NonceGeneratorFcn // nil: random
	conversation *scram.ServerConversation
	who          guess
	user         chat.User // the zero User if there is none that has a verifier
}

// Next implements hooks.Exchange.
func (x *exchange) Next(ctx context.Context, data []byte) (hooks.Step, error) {
	if x.conversation == nil && !x.asked && data == nil {
		x.asked = true
		return hooks.Step{}, nil
	}
	var step hooks.Step
	err := hooks.ErrBadCredentials
	switch {
	case len(data) > maxScramMessage:
	case x.conversation == nil:
		step.Data, err = x.first(ctx, string(data))
	default:
		step.Data, step.Grant, err = x.final(ctx, string(data))
		step.Done = true
	}
	if err != nil {
		return hooks.Step{}, x.a.counted(err)
	}
	return step, nil
}

// first answers client-first by the salt of whom it names.
func (x *exchange) first(ctx context.Context, message string) ([]byte, error) {
	var failed error
	server, err := scram.SHA256.NewServer(func(name string) (c scram.StoredCredentials, err error) {
		c, failed = x.credentials(ctx, name)
		return c, failed
	})
	if err != nil {
		return nil, unavailable("make an exchange", err)
	}
	if x.nonce != nil {
		server = server.WithNonceGenerator(x.nonce)
	}
	x.conversation = server.NewConversation()
	answer, err := x.conversation.Step(message)
	switch as := x.conversation.AuthzID(); {
	case failed != nil:
		return nil, failed
	case err != nil: // its text quotes the message
		return nil, hooks.ErrBadCredentials
	case as != "" && as != x.conversation.Username(): // nobody acts for another
		return nil, hooks.ErrBadCredentials
	}
	return []byte(answer), nil
}

// credentials finds what the proof of a user is compared with.
func (x *exchange) credentials(ctx context.Context, name string) (scram.StoredCredentials, error) {
	a := x.a
	// Neither can be right for anybody, so that saying so at once tells nothing.
	if !topics.ValidName(name) || x.login.User != "" && x.login.User != name {
		return scram.StoredCredentials{}, hooks.ErrBadCredentials
	}
	x.who = guess{network(x.login.Remote.Addr()), maphash.String(a.seed, name)}
	if a.throttled(x.who) {
		return scram.StoredCredentials{}, hooks.ErrBusy
	}
	us, err := a.accounts.UsersByName(ctx, []string{name})
	if err != nil {
		return scram.StoredCredentials{}, unavailable("read the user", err)
	}
	// A disabled user keeps the salt, and is refused at the end.
	text, none := a.noVerifier, a.noCredentials(name)
	known := len(us) == 1 && us[0].ID != 0 && us[0].SCRAM != ""
	if known {
		text = us[0].SCRAM
	}
	c, err := parseVerifier(text)
	if !known || err != nil {
		return none, nil
	}
	x.user = us[0]
	return c, nil
}

// noCredentials are those of a user who has none. The salt is the same each time,
// and no proof fits the keys.
func (a *Authenticator) noCredentials(name string) scram.StoredCredentials {
	mac := hmac.New(sha256.New, a.secret)
	mac.Write([]byte(name))
	c := scram.StoredCredentials{StoredKey: random(verifierKey), ServerKey: random(verifierKey)}
	c.Salt, c.Iters = string(mac.Sum(nil)[:saltBytes]), ScramIterations
	return c
}

// final checks the proof in client-final. A grant is that of a login by password.
func (x *exchange) final(ctx context.Context, message string) ([]byte, hooks.Grant, error) {
	a, u := x.a, &x.user
	// Other exchanges may have guessed since this one began.
	if a.throttled(x.who) {
		return nil, hooks.Grant{}, hooks.ErrBusy
	}
	g, revoked, err := a.grantByWord(ctx, u.ID, x.login.Client)
	if err != nil {
		return nil, hooks.Grant{}, err
	}
	answer, err := x.conversation.Step(message)
	if err != nil || u.ID == 0 || u.Disabled || u.Removed {
		a.failed(x.who)
		return nil, hooks.Grant{}, hooks.ErrBadCredentials
	}
	a.users.succeeded(x.who)
	if revoked {
		return nil, hooks.Grant{}, hooks.ErrBadCredentials
	}
	a.counts.exchanges.Add(1)
	return []byte(answer), g, nil
}
