// Package auth is the built-in authenticator: passwords of users and tokens of
// devices, both sent as the MQTT password, and SCRAM-SHA-256 (RFC 5802, RFC 7677)
// for clients that prove that they know the password without sending it.
//
// A token is what devices should use. It is long and random, so a fast hash of
// it is stored, it needs no protection against guessing, and a login by token is
// two reads of the accounts and one SHA-256. It belongs to one device: with an
// empty client identifier it means that device, with another one it is refused.
//
// A password is what people type. It is kept as argon2id, which is slow and hungry
// on purpose, so the work is bounded: few computations at once, a bounded number of
// logins that wait for one, wrong guesses answered with growing delays, and a
// password that was right is recognised again without the work as long as its hash
// stays the same. See Config.
//
// SCRAM compares with a verifier that is stored beside the hash, whenever a password
// is set. A password that is older has none, and SCRAM refuses it. The server
// computes three HMACs for a login, so that there is nothing to bound or remember; a
// wrong proof counts as a wrong password. It lets in as a password does.
//
// Who is refused learns nothing from it. An unknown user, one without a password
// and a wrong password cost the same reads and the same work, and give the same
// error as a disabled user or a revoked device. Only hooks.ErrBusy and
// hooks.ErrUnavailable tell something else, and these depend on the guesses made
// or on the server, not on the account.
package auth
