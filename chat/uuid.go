package chat

import (
	cryptorand "crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"sync"
)

// NewMessageID returns a UUIDv7 (RFC 9562) for the time ms in Unix milliseconds.
// Ids grow strictly within the process, also if ms stands still or goes back:
// then they carry the latest time seen. It makes no system call and is safe for
// concurrent use.
func NewMessageID(ms int64) MessageID { return ids.next(ms) }

// ids is the process's source of ids: what is monotonic within the process
// cannot belong to less.
var ids = newIDSource()

// idSource counts within a millisecond by random steps (RFC 9562, section 6.2,
// method 2), so an id tells nobody how many were made.
type idSource struct {
	mu   sync.Mutex
	rand *rand.ChaCha8 // seeded by the system once
	ms   int64         // of the latest id
	hi   uint16        // rand_a of the latest id, 12 bits
	lo   uint64        // rand_b of the latest id, 62 bits
}

func newIDSource() *idSource {
	var seed [32]byte
	cryptorand.Read(seed[:]) // never fails: the program ends instead
	return &idSource{rand: rand.NewChaCha8(seed)}
}

func (s *idSource) next(ms int64) MessageID {
	const loMask = 1<<62 - 1
	s.mu.Lock()
	r := s.rand.Uint64()
	if ms > s.ms {
		// The top bits start at zero and leave room to count.
		s.ms, s.hi, s.lo = ms, uint16(r>>53), s.rand.Uint64()&loMask
	} else if s.lo += 1 + r>>24; s.lo > loMask {
		s.lo &= loMask
		if s.hi++; s.hi == 1<<12 {
			s.hi = 0
			s.ms++
		}
	}
	t, hi, lo := s.ms, s.hi, s.lo
	s.mu.Unlock()

	var id MessageID
	binary.BigEndian.PutUint64(id[:], uint64(t)<<16|7<<12|uint64(hi))
	binary.BigEndian.PutUint64(id[8:], 1<<63|lo)
	return id
}

// Millis returns the time in the id, in Unix milliseconds.
func (id MessageID) Millis() int64 {
	return int64(binary.BigEndian.Uint64(id[:]) >> 16)
}

// messageIDLen is the length of the text form.
const messageIDLen = 36

const hexDigits = "0123456789abcdef"

// AppendTo appends the text form, 36 lower-case bytes.
func (id MessageID) AppendTo(dst []byte) []byte {
	var t [messageIDLen]byte
	be := binary.BigEndian
	be.PutUint64(t[0:], hexOf(be.Uint32(id[0:])))
	mid := hexOf(be.Uint32(id[4:]))
	be.PutUint32(t[9:], uint32(mid>>32))
	be.PutUint32(t[14:], uint32(mid))
	mid = hexOf(be.Uint32(id[8:]))
	be.PutUint32(t[19:], uint32(mid>>32))
	be.PutUint32(t[24:], uint32(mid))
	be.PutUint64(t[28:], hexOf(be.Uint32(id[12:])))
	t[8], t[13], t[18], t[23] = '-', '-', '-', '-'
	return append(dst, t[:]...)
}

// hexOf returns the 8 hexadecimal digits of v, the first in the highest byte.
func hexOf(v uint32) uint64 {
	const ones = 0x0101010101010101
	x := uint64(v)
	x = (x | x<<16) & 0x0000ffff0000ffff
	x = (x | x<<8) & 0x00ff00ff00ff00ff
	x = (x | x<<4) & 0x0f0f0f0f0f0f0f0f // one digit a byte
	letters := (x + ones*6) >> 4 & ones // one in each byte above 9
	return x + ones*'0' + letters*('a'-'0'-10)
}

// String returns the text form.
func (id MessageID) String() string { return string(id.AppendTo(nil)) }

// MarshalText returns the text form.
func (id MessageID) MarshalText() ([]byte, error) { return id.AppendTo(nil), nil }

// UnmarshalText reads the text form.
func (id *MessageID) UnmarshalText(text []byte) error {
	parsed, err := ParseMessageID(text)
	if err == nil {
		*id = parsed
	}
	return err
}

// errNotAnID is what ParseMessageID says to everything that is no UUID.
var errNotAnID = errors.New("not a message id")

// ParseMessageID reads the text form of any UUID: 36 bytes, upper or lower case.
func ParseMessageID[S string | []byte](s S) (MessageID, error) {
	var id MessageID
	if len(s) != messageIDLen || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return MessageID{}, errNotAnID
	}
	var t [32]byte
	n := copy(t[:], s[0:8])
	n += copy(t[n:], s[9:13])
	n += copy(t[n:], s[14:18])
	n += copy(t[n:], s[19:23])
	copy(t[n:], s[24:36])
	if _, err := hex.Decode(id[:], t[:]); err != nil {
		return MessageID{}, errNotAnID
	}
	return id, nil
}
