// Package crashtest holds what the crash tests share: they kill the server with SIGKILL at random moments under load, start
// it again on the same data, and afterwards judge a record of what the clients did and saw.
package crashtest
