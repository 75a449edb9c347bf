// Package crash holds the crash test: it kills the server with SIGKILL at random moments under load, starts it again on
// the same data, and afterwards checks what every client did and saw against the promises I1–I5 and I8.
//
//	go test ./e2e/crash                        20 kills, about a minute
//	TIDINGS_CRASH_KILLS=500 go test -timeout 4h ./e2e/crash
//	TIDINGS_CRASH_SEED=7 go test ./e2e/crash   the same choices again (not the same timing)
//
// Six users with two devices each write to one another and in three groups. Devices differ in protocol level, clean or
// persistent sessions, with or without a client message id, prompt or late and disordered PUBACKs. Links are cut now and
// then; each device resends what was not acked as its kind of client does.
package crash
