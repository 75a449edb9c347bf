package broker

import (
	"time"
)

// What differs on a listener for conformance tests. Everything that is not said
// here is as elsewhere.
const (
	// plainAliases are the topic aliases that a client may use at least.
	plainAliases = 1024

	// plainKeepAlive is the longest keep alive, told to MQTT 5 clients that ask for
	// more or for none. There is no shortest.
	plainKeepAlive = 60 * time.Second

	// plainAssigned begins the client identifiers that are given out there.
	plainAssigned = "auto-"
)

// aliasLimit is how many topic aliases a client may use.
func (s *Server) aliasLimit(plain bool) int {
	if plain {
		return max(s.cfg.TopicAliasMaximum, plainAliases)
	}
	return s.cfg.TopicAliasMaximum
}
