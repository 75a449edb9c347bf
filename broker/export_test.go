package broker

import "net"

// What tests of the wire put in the engine's place.
type (
	EngineForTest  = engine
	SessionForTest = session
	TurnForTest    = turn
)

// NewForTest is New with any engine.
func NewForTest(cfg Config, e EngineForTest, r RPC) (*Server, error) { return newServer(cfg, e, r) }

// ServeConnForTest serves one connection by the goroutine driver until it ends.
func (s *Server) ServeConnForTest(nc net.Conn) {
	if s.begin(nil) != nil {
		nc.Close()
		return
	}
	if w := s.newNetWire(nc, "test"); w != nil {
		w.serve()
	}
}
