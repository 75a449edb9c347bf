package index

// indexed is from how many entries on a set looks its keys up in a map. Nearly
// all filters have a few subscribers, and a map costs more than they do.
const indexed = 16

// set is a map with cheap iteration and little memory for a few entries. The
// order is that of insertion until something is deleted.
type set[K comparable, V any] struct {
	list []entry[K, V]
	at   map[K]int // position in list; nil while the list is short
}

type entry[K comparable, V any] struct {
	key   K
	value V
}

func (s *set[K, V]) find(k K) int {
	if s.at != nil {
		if i, ok := s.at[k]; ok {
			return i
		}
		return -1
	}
	for i := range s.list {
		if s.list[i].key == k {
			return i
		}
	}
	return -1
}

func (s *set[K, V]) set(k K, v V) (had bool) {
	if i := s.find(k); i >= 0 {
		s.list[i].value = v
		return true
	}
	s.list = append(s.list, entry[K, V]{k, v})
	switch {
	case s.at != nil:
		s.at[k] = len(s.list) - 1
	case len(s.list) >= indexed:
		s.at = make(map[K]int, len(s.list))
		for i := range s.list {
			s.at[s.list[i].key] = i
		}
	}
	return false
}

func (s *set[K, V]) delete(k K) (had bool) {
	i := s.find(k)
	if i < 0 {
		return false
	}
	last := len(s.list) - 1
	if s.at != nil {
		s.at[s.list[last].key] = i
		delete(s.at, k)
	}
	s.list[i] = s.list[last]
	s.list[last] = entry[K, V]{} // nothing deleted is kept alive
	s.list = s.list[:last]
	switch {
	case last == 0:
		*s = set[K, V]{}
	case last < indexed/2:
		s.at = nil // not at indexed, where one entry that comes and goes would build it each time
	}
	return true
}

func (s *set[K, V]) each(f func(K, V)) {
	for i := range s.list {
		f(s.list[i].key, s.list[i].value)
	}
}
