package index

import "bytes"

// Filters holds topic filters, each with subscribers of type K and what the
// subscription says, of type V. The zero Filters is empty and ready. It must not
// be copied.
type Filters[K comparable, V any] struct {
	tree tree[subscribers[K, V]]
	n    int
}

// subscribers are those of two filters: the path of a node, and that with "/#"
// behind it. The root has "#" as the second and no first.
type subscribers[K comparable, V any] struct {
	exact, below set[K, V]
}

// Len returns the number of subscriptions: pairs of a filter and a subscriber.
func (x *Filters[K, V]) Len() int { return x.n }

// Set makes k a subscriber of a filter with v, and tells whether it was one
// before, with another v perhaps. The filter is not kept.
func (x *Filters[K, V]) Set(filter string, k K, v V) (had bool) {
	path, below, root := cutHash(filter)
	n := &x.tree.root
	if !root {
		n = x.tree.insert(path)
	}
	n.used = true
	if had = n.payload.of(below).set(k, v); !had {
		x.n++
	}
	return had
}

// Delete ends that k is a subscriber of a filter, and tells whether it was one.
func (x *Filters[K, V]) Delete(filter string, k K) (had bool) {
	path, below, root := cutHash(filter)
	n := &x.tree.root
	if !root {
		if n = x.tree.find(path); n == nil {
			return false
		}
	}
	if !n.payload.of(below).delete(k) {
		return false
	}
	x.n--
	if len(n.payload.exact.list) == 0 && len(n.payload.below.list) == 0 {
		x.tree.release(n)
	}
	return true
}

// Match calls f for each subscriber of each filter that matches a topic name: for
// a subscriber of several of them several times. The order is not defined. It
// allocates nothing.
//
// Each node is looked at once at most, and only those whose path matches a
// beginning of the topic: at each level the node of that name and the one of "+".
// So filters about other topics cost nothing, and the worst case is what all
// filters that match a beginning have for nodes. The stack grows by one frame
// where both nodes exist, so not beyond the number of levels.
func (x *Filters[K, V]) Match(topic []byte, f func(K, V)) {
	if len(topic) == 0 {
		return
	}
	root := &x.tree.root
	if topic[0] == '$' { // [MQTT-4.7.2-1]
		if c, at := x.literal(root, topic, 0); c != nil {
			x.match(c, topic, at, f)
		}
		return
	}
	x.match(root, topic, 0, f)
}

// match goes on at a node whose path matches the levels before position at, which
// is one behind the end of the topic where there are no more.
func (x *Filters[K, V]) match(n *node[subscribers[K, V]], topic []byte, at int, f func(K, V)) {
	for n != nil {
		n.payload.below.each(f)
		if at > len(topic) {
			n.payload.exact.each(f)
			return
		}
		literal, afterLiteral := x.literal(n, topic, at)
		plus, afterPlus := n.plus, 0
		if plus != nil {
			if afterPlus = consume(plus.label, topic, at); afterPlus < 0 {
				plus = nil
			}
		}
		switch {
		case plus == nil:
			n, at = literal, afterLiteral
		case literal == nil:
			n, at = plus, afterPlus
		default:
			x.match(literal, topic, afterLiteral, f)
			n, at = plus, afterPlus
		}
	}
}

// literal returns the child of n that has the name of the level at that position
// and whose label matches, and the position behind it.
func (x *Filters[K, V]) literal(n *node[subscribers[K, V]], topic []byte, at int) (*node[subscribers[K, V]], int) {
	if n.first == nil {
		return nil, 0
	}
	level := topic[at:]
	if i := bytes.IndexByte(level, '/'); i >= 0 {
		level = level[:i]
	}
	c := x.tree.edges[edge[subscribers[K, V]]{n, string(level)}]
	if c == nil {
		return nil, 0
	}
	if at = consume(c.label, topic, at); at < 0 {
		return nil, 0
	}
	return c, at
}

// consume matches a label, in which "+" is a wildcard, with the levels of a topic
// name from a position on. It returns the position of the level behind, one more
// than the topic's length if there is none, and -1 if the label does not match.
func consume(label string, topic []byte, at int) int {
	for i := 0; ; i, at = i+1, at+1 { // each time at the beginning of a level of both
		if i < len(label) && label[i] == '+' {
			i++
			for at < len(topic) && topic[at] != '/' {
				at++
			}
		} else {
			for i < len(label) && label[i] != '/' {
				if at == len(topic) || topic[at] != label[i] {
					return -1
				}
				i, at = i+1, at+1
			}
			if at < len(topic) && topic[at] != '/' {
				return -1
			}
		}
		switch {
		case i == len(label):
			return at + 1
		case at == len(topic):
			return -1
		}
	}
}

// of returns the subscribers of the path, or of what is below it as well.
func (s *subscribers[K, V]) of(below bool) *set[K, V] {
	if below {
		return &s.below
	}
	return &s.exact
}

// cutHash splits a filter into the path before its "#", if it has one, and
// whether it has. "#" alone is about the root, which no path leads to.
func cutHash(filter string) (path string, below, root bool) {
	switch n := len(filter); {
	case filter == "#":
		return "", true, true
	case n >= 2 && filter[n-2:] == "/#":
		return filter[:n-2], true, false
	}
	return filter, false, false
}
