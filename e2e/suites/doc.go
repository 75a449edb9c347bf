// Package suites runs tests that others wrote for MQTT against the real binary and its listener for ordinary MQTT
// (`tidings serve --conformance`). A suite comes as a module that its directory here pins; it is run as it is, in a
// process of its own, and what fails in it fails here under its own name.
package suites
