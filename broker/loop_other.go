//go:build !linux

package broker

import "net"

// loop does not exist here.
type loop struct{}

func (*loop) signal() {}

// poll takes no connection: all are served by goroutines.
func (s *Server) poll(*net.TCPConn, bool) bool { return false }
