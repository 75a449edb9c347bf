package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxFile is far above the size of any configuration.
const maxFile = 1 << 20

// readFile sets what the YAML file has. It walks the nodes of the file instead of
// decoding it into the struct: so each problem gets its line, and the text of a
// value means the same as in a variable or a flag.
func (l *loader) readFile(name string) {
	data, err := os.ReadFile(name)
	if err != nil {
		l.problem("", "", "configuration file: "+err.Error())
		return
	}
	if len(data) > maxFile {
		l.problem(name, "", "is too large for a configuration")
		return
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return // empty
	case err != nil:
		l.yamlProblem(name, err)
		return
	}
	w := walker{loader: l, file: name}
	w.section(doc.Content[0], "")
	var more yaml.Node
	switch err := dec.Decode(&more); {
	case err == nil:
		w.problem(&more, "", "a second document; a configuration is one")
	case !errors.Is(err, io.EOF):
		l.yamlProblem(name, err)
	}
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// yamlProblem reports an error of the parser, whose line is in its text.
func (l *loader) yamlProblem(file string, err error) {
	text := err.Error()
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		text = text[len(m[0]):]
		if m[1] != "" {
			file += ":" + m[1]
		}
	}
	l.problem(file, "", text)
}

// walker reads the nodes of one file.
type walker struct {
	*loader
	file string
}

func (w walker) where(n *yaml.Node) string { return fmt.Sprintf("%s:%d", w.file, n.Line) }

func (w walker) problem(n *yaml.Node, key, text string) { w.loader.problem(w.where(n), key, text) }

// section reads the mapping below a key; "" is the whole file.
func (w walker) section(n *yaml.Node, key string) {
	n = follow(n)
	if isNull(n) {
		return // everything in it is commented out
	}
	if n.Kind != yaml.MappingNode {
		w.problem(n, key, "want lines of the form key: value here")
		return
	}
	seen := make(map[string]int)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		path := k.Value
		if key != "" {
			path = key + "." + path
		}
		if line, twice := seen[path]; twice {
			w.problem(k, path, fmt.Sprintf("stands twice, first in line %d", line))
			continue
		}
		seen[path] = k.Line
		if f := fieldByKey(path); f != nil {
			w.value(v, k, f)
		} else if isSection(path) {
			w.section(v, path)
		} else {
			w.problem(k, path, "unknown key; "+hint(path, key))
		}
	}
}

// value reads the value of one setting. A list may also be a sequence.
func (w walker) value(n, key *yaml.Node, f *field) {
	n = follow(n)
	if isNull(n) {
		w.problem(key, f.key, "has no value")
		return
	}
	list := typeName(f.of(&w.config)) == "list"
	switch {
	case n.Kind == yaml.ScalarNode:
		w.set(f, w.where(n), n.Value)
	case n.Kind == yaml.SequenceNode && list:
		var items, places []string
		for _, item := range n.Content {
			if item = follow(item); item.Kind != yaml.ScalarNode || isNull(item) || strings.Contains(item.Value, ",") {
				w.problem(item, f.key, "want a list of plain values without commas")
				return
			}
			items = append(items, item.Value)
			if strings.TrimSpace(item.Value) != "" { // the others are left out of the list
				places = append(places, w.where(item))
			}
		}
		w.set(f, w.where(n), strings.Join(items, ","))
		w.items[f.key] = places
	case list:
		w.problem(n, f.key, "want a list of plain values")
	default:
		w.problem(n, f.key, "want a single value")
	}
}

// follow returns what an alias stands for.
func follow(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }
