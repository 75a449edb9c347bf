// Package broker is the MQTT carrier of Tidings: it speaks MQTT 3.1.1 and 5 with
// the clients and hands what they publish, subscribe and acknowledge to package
// delivery, which knows no MQTT.
//
// A connection has no goroutine of its own. It is fed by a driver:
//
//	driver ── conn.input(bytes, *round) ── frames ─┬─ PUBLISH, PUBACK: at once, into the round's turn
//	                                               └─ CONNECT, SUBSCRIBE …: a job, while the input waits
//
// Two drivers exist: an epoll loop for plain TCP on Linux, where one goroutine
// reads many connections and commits one turn a round, and a goroutine for each
// connection for TLS, WebSocket and other systems.
//
// # What it promises
//
// Every packet is checked whole before anything acts on it. A malformed one ends
// its connection with the reason that MQTT has for it and touches nothing else;
// any split of the input into reads gives the same result. Nothing that a client
// does makes another one wait: output never blocks a goroutine that is shared,
// and what a connection may keep in memory is bounded.
//
// # Who owns what
//
//   - The input half of a conn (fields so marked) belongs to the driver's
//     goroutine, or to the job that it has handed the connection to.
//   - The output half is guarded by output.mu, a leaf lock: the engine's router and
//     feeders append under it, and nothing is written while it is held.
//   - Session.Close is called once, from a goroutine of its own, after the last
//     input of the connection has been committed.
//
// Lock order: what the engine holds, then output.mu or wheel.mu, which are never
// held together; wills.mu before pool.mu.
//
// # Two kinds of listener
//
// On ordinary ones people and devices log in. On one for conformance tests (Server.ServeOpen)
// a conn is plain: there is no login, and all topics but those of the chats are
// open. What differs is in plain.go, in as few places as possible.
package broker
