package index

import "fmt"

// Check returns what is wrong with the tree, nil if nothing is.
func (x *Filters[K, V]) Check() error {
	if err := x.tree.check(); err != nil {
		return err
	}
	n := 0
	for _, node := range x.tree.all() {
		here := len(node.payload.exact.list) + len(node.payload.below.list)
		if node.used != (here > 0) {
			return fmt.Errorf("node %q is used: %v, but has %d subscribers", node.label, node.used, here)
		}
		n += here
	}
	if n != x.n {
		return fmt.Errorf("Len is %d, %d are there", x.n, n)
	}
	return nil
}

// Nodes returns how many nodes there are below the root.
func (x *Filters[K, V]) Nodes() int { return len(x.tree.all()) - 1 }

// Check returns what is wrong with the tree, nil if nothing is.
func (x *Topics[V]) Check() error {
	if err := x.tree.check(); err != nil {
		return err
	}
	n := 0
	for _, node := range x.tree.all() {
		if node.used {
			n++
		}
	}
	if n != x.n {
		return fmt.Errorf("Len is %d, %d are there", x.n, n)
	}
	return nil
}

// Nodes returns how many nodes there are below the root.
func (x *Topics[V]) Nodes() int { return len(x.tree.all()) - 1 }

// all returns the root and every node below it.
func (t *tree[P]) all() []*node[P] {
	nodes := []*node[P]{&t.root}
	for i := 0; i < len(nodes); i++ {
		for c := nodes[i].first; c != nil; c = c.next {
			nodes = append(nodes, c)
		}
	}
	return nodes
}

func (t *tree[P]) check() error {
	nodes, plus := t.all(), 0
	for _, n := range nodes {
		children := 0
		var prev *node[P]
		for c := n.first; c != nil; prev, c = c, c.next {
			children++
			if c.parent != n || c.prev != prev {
				return fmt.Errorf("node %q is badly linked", c.label)
			}
			if t.child(n, firstLevel(c.label)) != c {
				return fmt.Errorf("node %q is not found from its parent", c.label)
			}
		}
		if n.last != prev {
			return fmt.Errorf("node %q has a wrong last child", n.label)
		}
		if n != &t.root && !n.used && children < 2 {
			return fmt.Errorf("node %q is not used and has %d children", n.label, children)
		}
		if n.plus != nil {
			plus++
		}
	}
	if found := len(t.edges) + plus; found != len(nodes)-1 {
		return fmt.Errorf("%d edges to %d nodes", found, len(nodes)-1)
	}
	return nil
}
