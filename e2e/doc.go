// Package e2e tests the server from outside: the binary runs as a child process, and what speaks to it is what people
// have: mosquitto's clients, MQTT.js, paho.golang, the command line, and package mqttest where a test needs to be a
// client that no library would be.
//
// Nothing here imports the server's own packages. The tests that need no restart share one server and make users of
// their own on it; the others have a server each. A missing tool is one line and a skipped test, or a failure where CI
// is set.
package e2e
