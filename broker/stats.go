package broker

import (
	"maps"
	"sync"
	"sync/atomic"
)

// Stats is a snapshot of a Server's counters. They count since New; Connections
// and Unauthenticated are of the moment.
type Stats struct {
	Connections     int // network connections that are open
	Unauthenticated int // of these, without a successful login yet

	Accepted uint64            // network connections accepted
	Refused  map[string]uint64 // connections and CONNECTs refused, by reason
	Closed   map[string]uint64 // ends of connections, by reason

	PacketsIn, PacketsOut [16]uint64 // by MQTT control packet type
	BytesIn, BytesOut     uint64

	Panics       uint64 // caught while handling one connection
	StrayAcks    uint64 // acknowledgements of deliveries that the connection did not get
	CutLive      uint64 // sent and rpc answers dropped because the output was full or the client's limit too small
	WillsSent    uint64
	WillsRefused uint64
	WillsHurried uint64 // sent without their delay, since too many were waiting
	Calls        uint64 // rpc requests accepted
	AcceptErrors uint64
}

// counters are the live form of Stats.
type counters struct {
	accepted, panics, strayAcks, cutLive, willsSent, willsRefused, willsHurried, calls, acceptErrors atomic.Uint64
	bytesIn, bytesOut                                                                                atomic.Uint64
	packetsIn, packetsOut                                                                            [16]atomic.Uint64

	mu      sync.Mutex // guards the maps
	refused map[string]uint64
	closed  map[string]uint64
}

func (c *counters) refuse(reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refused[reason]++
}

func (c *counters) close(reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed[reason]++
}

// Stats returns the present counters. It may be called at any time.
func (s *Server) Stats() Stats {
	c := &s.counters
	st := Stats{
		Accepted: c.accepted.Load(), Panics: c.panics.Load(), StrayAcks: c.strayAcks.Load(), CutLive: c.cutLive.Load(),
		WillsSent: c.willsSent.Load(), WillsRefused: c.willsRefused.Load(), WillsHurried: c.willsHurried.Load(), Calls: c.calls.Load(), AcceptErrors: c.acceptErrors.Load(),
		BytesIn: c.bytesIn.Load(), BytesOut: c.bytesOut.Load(),
	}
	for i := range c.packetsIn {
		st.PacketsIn[i] = c.packetsIn[i].Load()
		st.PacketsOut[i] = c.packetsOut[i].Load()
	}
	c.mu.Lock()
	st.Refused, st.Closed = maps.Clone(c.refused), maps.Clone(c.closed)
	c.mu.Unlock()
	st.Connections, st.Unauthenticated = s.admission.counts()
	return st
}
