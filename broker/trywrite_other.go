//go:build !unix

package broker

import "net"

// nonBlocking returns nil: writes go through a transient goroutine here.
func nonBlocking(net.Conn) func(b []byte) (int, error) { return nil }
