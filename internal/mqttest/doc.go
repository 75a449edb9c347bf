// Package mqttest is a small MQTT 3.1.1 and 5 client for tests and load.
//
// It is deliberately not a library for applications: nothing reconnects, nothing is resent and nothing is acked behind
// the caller's back unless asked for, so that a test can be a correct client, a slow one or a hostile one. The codec is
// its own, which keeps a fault of the server's codec from hiding behind the same fault here.
//
// # Goroutines and order
//
// A Client owns one goroutine, its reader; Close, Drop and Disconnect wait for it. Callbacks (Options.OnMessage, OnAck,
// OnPacket) run on the reader, in the order of arrival, and must not call a method that waits for an answer. What they
// get points into the read buffer and is valid until they return.
//
// Writers append whole packets to one output buffer. A flush writes all that has gathered in one system call; packets
// appended while another goroutine is writing leave with its next write. The reader flushes once after each read, so a
// callback that answers with Queue costs no write of its own.
//
// # Bounds
//
// The output buffer holds at most Options.OutputLimit bytes while a write is under way; further writers wait. Without
// OnMessage, deliveries gather in an unbounded list until Next takes them: the test decides what arrives.
package mqttest
