package index

import (
	"strings"
	"unsafe"
)

// Topics holds topic names, each with a value. The zero Topics is empty and
// ready. It must not be copied.
type Topics[V any] struct {
	tree tree[named[V]]
	n    int
}

// named is a value with its topic name.
type named[V any] struct {
	topic string
	value V
}

// Len returns the number of topics.
func (x *Topics[V]) Len() int { return x.n }

// Set gives a topic a value, and returns the one that it had. The topic's string
// is kept.
func (x *Topics[V]) Set(topic string, v V) (old V, had bool) {
	n := x.tree.insert(topic)
	old, had = n.payload.value, n.used
	if !had {
		x.n++
		n.payload.topic = topic
	}
	n.payload.value, n.used = v, true
	return old, had
}

// Delete removes a topic, and returns the value that it had.
func (x *Topics[V]) Delete(topic string) (old V, had bool) {
	n := x.tree.find(topic)
	if n == nil || !n.used {
		return old, false
	}
	old = n.payload.value
	n.payload = named[V]{}
	x.n--
	x.tree.release(n)
	return old, true
}

// Get returns the value of a topic. It allocates nothing.
func (x *Topics[V]) Get(topic []byte) (v V, ok bool) {
	// The string is gone when find returns, and nobody writes to topic before.
	n := x.tree.find(unsafe.String(unsafe.SliceData(topic), len(topic)))
	if n == nil || !n.used {
		return v, false
	}
	return n.payload.value, true
}

// Match calls f for each topic that a filter matches, until f returns false. A
// topic comes before those below it, and topics on one level in the order in
// which their level came to be there; the order stays the same as long as nothing
// is set or deleted. It allocates nothing.
//
// Each node is looked at once at most: a filter with a wildcard at its beginning
// costs what there is.
func (x *Topics[V]) Match(filter string, f func(topic string, v V) bool) {
	if filter != "" {
		x.match(&x.tree.root, filter, 0, f)
	}
}

// match goes on at a node whose path is matched by the levels of the filter
// before position at, which is one behind the end where there are no more. It
// tells whether f wants more. It calls itself once for each wildcard and node, so
// not deeper than there are levels.
func (x *Topics[V]) match(n *node[named[V]], filter string, at int, f func(string, V) bool) bool {
	for {
		if at > len(filter) {
			return yield(n, f)
		}
		rest := filter[at:]
		if rest == "#" {
			return x.all(n, f)
		}
		level := firstLevel(rest)
		if level == "+" {
			break
		}
		if n = x.tree.child(n, level); n == nil {
			return true
		}
		if at = consumeLabel(n.label, filter, at); at < 0 {
			return true
		}
	}
	for c := n.first; c != nil; c = c.next {
		if x.hidden(c) {
			continue
		}
		if after := consumeLabel(c.label, filter, at); after >= 0 && !x.match(c, filter, after, f) {
			return false
		}
	}
	return true
}

// all calls f for a node and everything below it, without a stack.
func (x *Topics[V]) all(top *node[named[V]], f func(string, V) bool) bool {
	for n := top; ; {
		hidden := n != top && x.hidden(n)
		if !hidden && !yield(n, f) {
			return false
		}
		if n.first != nil && !hidden {
			n = n.first
			continue
		}
		for n != top && n.next == nil {
			n = n.parent
		}
		if n == top {
			return true
		}
		n = n.next
	}
}

// hidden tells whether a node is one that no wildcard at the first level selects
// [MQTT-4.7.2-1].
func (x *Topics[V]) hidden(n *node[named[V]]) bool {
	return n.parent == &x.tree.root && strings.HasPrefix(n.label, "$")
}

func yield[V any](n *node[named[V]], f func(string, V) bool) bool {
	return !n.used || f(n.payload.topic, n.payload.value)
}

// consumeLabel matches a label with the levels of a filter from a position on. It
// returns the position of the level behind, one more than the filter's length if
// there is none, or of the "#" that has all that follows; and -1 if the label does
// not match.
func consumeLabel(label, filter string, at int) int {
	for {
		want, level := firstLevel(filter[at:]), firstLevel(label)
		switch {
		case want == "#":
			return at
		case want != "+" && want != level:
			return -1
		}
		at += len(want)
		switch {
		case len(level) == len(label):
			return at + 1
		case at == len(filter):
			return -1
		}
		label, at = label[len(level)+1:], at+1
	}
}
