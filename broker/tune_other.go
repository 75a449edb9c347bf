//go:build !linux

package broker

import (
	"net"
	"time"
)

// tune does nothing: there is no such option here.
func tune(net.Conn, time.Duration) {}
