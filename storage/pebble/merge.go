package pebble

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2"

	"tidings/storage"
)

// maximum merges rows of one or more numbers, each 8 bytes, to the greatest of
// each. Cursors, watermarks and floors are written through it: a late or
// repeated write needs no read and moves nothing back. The name is part of the
// disk format.
var maximum = &pebble.Merger{
	Name: "tidings.maximum",
	Merge: func(key, value []byte) (pebble.ValueMerger, error) {
		m := &maxima{}
		if err := m.add(value); err != nil {
			return nil, keyError(key, err.Error())
		}
		return m, nil
	},
}

// maxima holds the greatest values so far; the order of operands does not matter.
type maxima struct{ vals []byte }

func (m *maxima) add(value []byte) error {
	if len(value)%8 != 0 {
		return fmt.Errorf("%w: operand of %d bytes", storage.ErrCorrupt, len(value))
	}
	for len(m.vals) < len(value) {
		m.vals = append(m.vals, 0)
	}
	for i := 0; i < len(value); i += 8 {
		if n := binary.BigEndian.Uint64(value[i:]); n > binary.BigEndian.Uint64(m.vals[i:]) {
			binary.BigEndian.PutUint64(m.vals[i:], n)
		}
	}
	return nil
}

func (m *maxima) MergeNewer(value []byte) error { return m.add(value) }
func (m *maxima) MergeOlder(value []byte) error { return m.add(value) }

func (m *maxima) Finish(bool) ([]byte, io.Closer, error) { return m.vals, nil, nil }
