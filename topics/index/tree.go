package index

import "strings"

// A tree holds paths of levels, each with a payload. A node stands for one level
// or for several without a branch between them, so that the number of nodes is
// less than twice the number of paths, however deep these are: the 32,768 levels
// that a topic can have must not cost 32,768 nodes.
//
// After the paths a/b/c, a/b/d and a/+ have been inserted:
//
//	root ── "a" ─┬─ "b" ─┬─ "c"
//	             │       └─ "d"
//	             └─ "+"
//
// Children are found through one map for the whole tree, since most nodes have
// one child or none and a map in each would be most of their memory. They are
// also listed in the order in which they came.
//
// The zero tree is empty. A tree must not be copied.
type tree[P any] struct {
	root  node[P]
	edges map[edge[P]]*node[P]
}

// edge leads from a node to the child whose label begins with that level.
type edge[P any] struct {
	parent *node[P]
	level  string
}

type node[P any] struct {
	label   string // the levels from the parent to here; of the root nothing
	payload P
	used    bool // a path ends here: the payload counts

	parent      *node[P]
	plus        *node[P] // the child whose label begins with the level "+"
	first, last *node[P] // children
	prev, next  *node[P] // among the parent's children
}

// insert returns the node of a path, which is made if need be. The caller marks
// it as used.
func (t *tree[P]) insert(path string) *node[P] {
	n := &t.root
	for {
		c := t.child(n, firstLevel(path))
		if c == nil {
			return t.add(n, strings.Clone(path)) // a clone, so that no longer string is kept
		}
		k := common(c.label, path)
		if k < len(c.label) {
			c = t.split(c, k)
		}
		if k == len(path) {
			return c
		}
		n, path = c, path[k+1:]
	}
}

// find returns the node of a path, nil if there is none.
func (t *tree[P]) find(path string) *node[P] {
	n := &t.root
	for {
		c := t.child(n, firstLevel(path))
		if c == nil || common(c.label, path) < len(c.label) {
			return nil
		}
		if len(c.label) == len(path) {
			return c
		}
		n, path = c, path[len(c.label)+1:]
	}
}

// release takes back that a node is used, and removes what nothing needs then.
// Its payload must be empty already.
func (t *tree[P]) release(n *node[P]) {
	n.used = false
	for n != &t.root && !n.used {
		if n.first != nil {
			if n.first == n.last {
				t.merge(n)
			}
			return
		}
		t.remove(n)
		n = n.parent
	}
}

func (t *tree[P]) child(n *node[P], level string) *node[P] {
	if level == "+" {
		return n.plus
	}
	return t.edges[edge[P]{n, level}]
}

// setChild makes c, or nothing, the child of n at a level, without the list.
func (t *tree[P]) setChild(n *node[P], level string, c *node[P]) {
	switch {
	case level == "+":
		n.plus = c
	case c == nil:
		delete(t.edges, edge[P]{n, level})
	default:
		if t.edges == nil {
			t.edges = make(map[edge[P]]*node[P])
		}
		t.edges[edge[P]{n, level}] = c
	}
}

// add appends a new child.
func (t *tree[P]) add(parent *node[P], label string) *node[P] {
	c := &node[P]{label: label, parent: parent, prev: parent.last}
	*parent.before(c), parent.last = c, c
	t.setChild(parent, firstLevel(label), c)
	return c
}

// remove removes a node that has no children.
func (t *tree[P]) remove(n *node[P]) {
	t.setChild(n.parent, firstLevel(n.label), nil)
	*n.parent.before(n) = n.next
	*n.parent.after(n) = n.prev
}

// split makes two nodes of c, the first with the first k bytes of its label, and
// returns that one.
func (t *tree[P]) split(c *node[P], k int) *node[P] {
	upper := &node[P]{label: strings.Clone(c.label[:k])}
	t.replace(c, upper)
	c.label = strings.Clone(c.label[k+1:])
	c.parent, c.prev, c.next = upper, nil, nil
	upper.first, upper.last = c, c
	t.setChild(upper, firstLevel(c.label), c)
	return upper
}

// merge makes one node of n and its only child, which stays.
func (t *tree[P]) merge(n *node[P]) {
	c := n.first
	t.setChild(n, firstLevel(c.label), nil)
	c.label = n.label + "/" + c.label
	t.replace(n, c)
}

// replace puts c in the place of n among the children of its parent. Their labels
// begin with the same level.
func (t *tree[P]) replace(n, c *node[P]) {
	c.parent, c.prev, c.next = n.parent, n.prev, n.next
	*n.parent.before(n), *n.parent.after(n) = c, c
	t.setChild(n.parent, firstLevel(c.label), c)
}

// before returns where the list of n's children points forward to c.
func (n *node[P]) before(c *node[P]) **node[P] {
	if c.prev == nil {
		return &n.first
	}
	return &c.prev.next
}

// after returns where the list of n's children points back to c.
func (n *node[P]) after(c *node[P]) **node[P] {
	if c.next == nil {
		return &n.last
	}
	return &c.next.prev
}

func firstLevel(path string) string {
	level, _, _ := strings.Cut(path, "/")
	return level
}

// common returns how many bytes the whole levels have with which both paths
// begin. At least the first level must be the same.
func common(a, b string) int {
	i, whole := 0, 0
	for {
		endA, endB := i == len(a) || a[i] == '/', i == len(b) || b[i] == '/'
		if endA != endB || !endA && a[i] != b[i] {
			return whole
		}
		if endA {
			whole = i
			if i == len(a) || i == len(b) {
				return whole
			}
		}
		i++
	}
}
