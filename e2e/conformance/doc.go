// Package conformance shows the normative statements of MQTT 3.1.1 and 5.0 over the wire, against the real binary and its
// listener for ordinary MQTT (`tidings serve --conformance`). Tests drive connections packet by packet; nothing is
// acknowledged by itself. Each says which statements it shows in a line that docs/conformance.md is made from.
//
// All tests share one server and have topics and client identifiers of their own. "Nothing comes" is never a matter of
// waiting: a test sends something behind what must not come and sees that it is the next to arrive. Time passes by a
// will delay of the server's.
//
// With -server host:port the tests run against another server, to see whether a test or a server is wrong.
package conformance
