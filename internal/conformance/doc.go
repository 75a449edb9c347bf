// Package conformance lists the normative statements of MQTT 3.1.1 and MQTT 5.0 and says which tests show them.
//
// The statements are data: number, whom they bind, and what they ask in a sentence of our own. A test says what it shows
// by a comment line inside it or right above it:
//
//	// Shows MQTT5-3.1.0-1, MQTT3-3.1.0-1.
//
// MQTT3 stands for MQTT 3.1.1 and MQTT5 for MQTT 5.0; the number is the specification's own. [Scan] collects these lines
// from all tests of the module, [Check] compares them with the statements, and [Markdown] writes docs/conformance.md. The
// package's own test does all three and rewrites the page with -update. It fails when a marker names no statement, when a
// statement has neither a test nor a reason, and when it has both.
package conformance
