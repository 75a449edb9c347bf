package chat

import "math/rand/v2"

// IDSource is an idSource for tests of its edges.
type IDSource struct{ s *idSource }

// NewIDSource returns a source whose latest id had these fields.
func NewIDSource(ms int64, hi uint16, lo uint64) IDSource {
	return IDSource{&idSource{rand: rand.NewChaCha8([32]byte{}), ms: ms, hi: hi, lo: lo}}
}

// Next returns the next id.
func (s IDSource) Next(ms int64) MessageID { return s.s.next(ms) }
