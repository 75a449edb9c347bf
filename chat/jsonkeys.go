package chat

import (
	"bytes"
	"hash/maphash"
)

// keyring finds keys that are twice in one object, for all objects of a document
// that are open at a time. Objects with few keys compare each new key with the
// earlier ones, which lie on a common stack. From fewKeys on an object's keys move to
// a hash table that is shared by all objects of the document, each entry marked
// with its object: so the work stays linear in the document and nothing is ever
// cleared.
type keyring struct {
	stack [inlineKeys][]byte // first part of the stack; more is only for deep nests
	more  [][]byte
	used  int // entries on the stack

	table   []keyEntry // open addressing, a power of two; nil until needed
	filled  int
	objects uint32 // objects that have moved to the table so far
	seed    maphash.Seed
}

const (
	fewKeys    = 16
	inlineKeys = 24
)

// keyset is one open object's keys: those on the stack from base on, or those in
// the table marked with its object.
type keyset struct {
	base   int
	object uint32 // zero while the keys are on the stack
}

type keyEntry struct {
	object uint32 // zero: free
	key    []byte
}

func (k *keyring) open() keyset { return keyset{base: k.used} }

// close forgets the keys of an object that has been read; the innermost open
// one comes first.
func (k *keyring) close(s keyset) { k.truncate(s.base) }

// add adds a key to an object, which must be the innermost open one; false means
// that it is there already.
func (k *keyring) add(s *keyset, key []byte) bool {
	if s.object != 0 {
		return k.insert(s.object, key)
	}
	for i := s.base; i < k.used; i++ {
		if bytes.Equal(k.at(i), key) {
			return false
		}
	}
	if k.used-s.base < fewKeys {
		k.push(key)
		return true
	}
	k.objects++
	s.object = k.objects
	for i := s.base; i < k.used; i++ {
		k.insert(s.object, k.at(i))
	}
	k.truncate(s.base)
	return k.insert(s.object, key)
}

func (k *keyring) at(i int) []byte {
	if i < inlineKeys {
		return k.stack[i]
	}
	return k.more[i-inlineKeys]
}

func (k *keyring) push(key []byte) {
	if k.used < inlineKeys {
		k.stack[k.used] = key
	} else {
		k.more = append(k.more, key)
	}
	k.used++
}

func (k *keyring) truncate(n int) {
	k.used = n
	k.more = k.more[:max(0, n-inlineKeys)]
}

// insert puts a key of an object into the table unless it is there.
func (k *keyring) insert(object uint32, key []byte) bool {
	if 2*k.filled >= len(k.table) {
		k.grow()
	}
	i := k.slot(object, key)
	for ; k.table[i].object != 0; i = (i + 1) & (len(k.table) - 1) {
		if e := &k.table[i]; e.object == object && bytes.Equal(e.key, key) {
			return false
		}
	}
	k.table[i] = keyEntry{object, key}
	k.filled++
	return true
}

// slot is where the search for a key begins. The seed is secret, so nobody can
// write keys that collide.
func (k *keyring) slot(object uint32, key []byte) int {
	h := maphash.Bytes(k.seed, key) ^ uint64(object)*0x9e3779b97f4a7c15
	return int(h>>1) & (len(k.table) - 1)
}

func (k *keyring) grow() {
	old := k.table
	if old == nil {
		k.seed = maphash.MakeSeed()
	}
	k.table = make([]keyEntry, max(64, 2*len(old)))
	for _, e := range old {
		if e.object == 0 {
			continue
		}
		i := k.slot(e.object, e.key)
		for k.table[i].object != 0 {
			i = (i + 1) & (len(k.table) - 1)
		}
		k.table[i] = e
	}
}
