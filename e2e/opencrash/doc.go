// Package opencrash holds the crash test of open topics: it kills the server with SIGKILL at random moments under load, starts
// it again on the same data, and checks what every client did and saw against what MQTT and docs/protocol.md promise there.
//
//	go test ./e2e/opencrash                        10 kills, about half a minute
//	TIDINGS_CRASH_KILLS=500 go test -timeout 4h ./e2e/opencrash
//	TIDINGS_CRASH_SEED=7 go test ./e2e/opencrash   the same choices again (not the same timing)
//
// Publishers send numbered messages with QoS 1 and 2, many at a time, some retained, some to topics where they may not.
// Subscribers differ in QoS, filters and Receive Maximum; one is away most of the time, two share a subscription. All have
// persistent sessions, keep their part of the state exactly, and cut their links, say DISCONNECT or take their sessions over
// between the kills. Some are clients of the conformance listener, and a pair is of paho.golang, with its session state.
//
// What is checked: with QoS 2 on both sides each message that was acknowledged arrives exactly once; with QoS 1 at least
// once, and again only with DUP or after it was published again; all first arrivals of a publisher are in its order; no more
// are in flight than Receive Maximum allows; acknowledgements come in order; what was refused never arrives; queues hold no
// more than they may; and what is retained in the end is what was acknowledged last.
package opencrash
