package scenario

import (
	"bytes"
	"math/rand/v2"
)

// A stamp opens every body: when it was sent (ns since the start of the process), by whom, and which of that sender's
// messages it is. It is plain text and needs no escape in JSON, so that it is found inside an envelope as well as alone:
//
//	~T 0123456789abcdef 01234567 01234567   (without the blanks)
const (
	stampMark = "~T"
	stampLen  = len(stampMark) + 16 + 8 + 8
)

type stamp struct {
	at     int64
	sender uint32
	seq    uint32
}

// prose is what bodies are cut from: letters and blanks by chance, the same in every run. A text that repeats itself would let
// a store that compresses look better than it is.
var prose = func() []byte {
	rng := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, 256<<10)
	for i := range b {
		b[i] = "abcdefghijklmnopqrstuvwxyz      "[rng.IntN(32)]
	}
	return b
}()

// newBody returns a body of size bytes that only lacks its stamp and its text.
func newBody(size int) []byte {
	b := make([]byte, size)
	for rest := b[copy(b, stampMark):]; len(rest) > 0; {
		rest = rest[copy(rest, prose):]
	}
	return b
}

// text puts the n-th piece of prose behind the stamp.
func text(b []byte, n uint32) {
	behind := b[stampLen:]
	pieces := max(1, len(prose)/max(1, len(behind)))
	copy(behind, prose[int(n)%pieces*len(behind)%len(prose):])
}

// put writes the stamp to the start of a body.
func (s stamp) put(b []byte) {
	putHex(b[2:18], uint64(s.at))
	putHex(b[18:26], uint64(s.sender))
	putHex(b[26:34], uint64(s.seq))
}

// findStamp finds the stamp in a delivery, be it a body alone or an envelope.
func findStamp(b []byte) (s stamp, ok bool) {
	i := bytes.Index(b, []byte(stampMark))
	if i < 0 || len(b) < i+stampLen {
		return s, false
	}
	b = b[i:]
	return stamp{int64(getHex(b[2:18])), uint32(getHex(b[18:26])), uint32(getHex(b[26:34]))}, true
}

func putHex(b []byte, v uint64) {
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = "0123456789abcdef"[v&15]
		v >>= 4
	}
}

func getHex(b []byte) (v uint64) {
	for _, c := range b {
		if c >= 'a' {
			c -= 'a' - 10
		} else {
			c -= '0'
		}
		v = v<<4 | uint64(c&15)
	}
	return v
}
