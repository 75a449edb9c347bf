package broker

import (
	"net"
	"time"
)

// ServeTCP accepts connections until Shutdown, and returns ErrClosed then. Plain
// TCP goes to the epoll loops where there are any; a listener that yields other
// connections, such as those of crypto/tls, is served by goroutines. Errors of
// Accept do not end it.
func (s *Server) ServeTCP(ln net.Listener) error { return s.acceptFrom(ln, false) }

// ServeOpen is ServeTCP for tests of MQTT itself: nobody has to log in there, any
// client identifier will do, and every topic but those of the chats is an open
// one. So it must not be reachable for anybody else; ln should be a listener on
// loopback.
func (s *Server) ServeOpen(ln net.Listener) error { return s.acceptFrom(ln, true) }

func (s *Server) acceptFrom(ln net.Listener, plain bool) error {
	defer ln.Close()
	if err := s.begin(ln); err != nil {
		return err
	}
	pause := time.Duration(0)
	for {
		nc, err := ln.Accept()
		if err != nil {
			if s.isClosed() {
				return ErrClosed
			}
			// Out of descriptors, most likely: it passes when connections end.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			if s.counters.acceptErrors.Add(1)&255 == 1 {
				s.log.Warn("accept failed", "error", err, "pause", pause)
			}
			if !s.sleep(pause) {
				return ErrClosed
			}
			continue
		}
		pause = 0
		s.serve(nc, plain)
	}
}

func (s *Server) serve(nc net.Conn, plain bool) {
	tune(nc, 2*s.cfg.WriteTimeout)
	carrier := "tls"
	if tcp, ok := nc.(*net.TCPConn); ok {
		if s.poll(tcp, plain) {
			return
		}
		carrier = "tcp"
	}
	if w := s.newNetWire(nc, carrier, plain); w != nil {
		go w.serve() // Shutdown waits for it by what register has counted
	}
}

func (s *Server) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// sleep waits, and returns false at once when the server shuts down.
func (s *Server) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.closing:
		return false
	}
}
