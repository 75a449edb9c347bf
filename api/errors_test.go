package api_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// codes collects the code words of a package: constants whose names begin with
// Code, and what stands in the field Code (or first) of a Refusal.
func codes(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := make(map[string]string)
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no Go files in %s: %v", dir, err)
	}
	fset := token.NewFileSet()
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		note := func(e ast.Expr) {
			if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				word, _ := strconv.Unquote(lit.Value)
				found[word] = fset.Position(lit.Pos()).String()
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ValueSpec:
				for i, id := range n.Names {
					if strings.HasPrefix(id.Name, "Code") && i < len(n.Values) {
						note(n.Values[i])
					}
				}
			case *ast.CompositeLit:
				if !refusalType(n.Type) || len(n.Elts) == 0 {
					return true
				}
				note(n.Elts[0]) // Refusal{"code", "message"}
				for _, e := range n.Elts {
					if kv, ok := e.(*ast.KeyValueExpr); ok && kv.Key.(*ast.Ident).Name == "Code" {
						note(kv.Value)
					}
				}
			}
			return true
		})
	}
	return found
}

func refusalType(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name == "Refusal" || e.Name == "ErrorBody"
	case *ast.SelectorExpr:
		return e.Sel.Name == "Refusal" || e.Sel.Name == "ErrorBody"
	}
	return false
}

var listed = regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\|")

// TestEveryCodeIsListed holds docs/errors.md against the sources, both ways.
func TestEveryCodeIsListed(t *testing.T) {
	text, err := os.ReadFile("../docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	told := make(map[string]bool)
	for _, m := range listed.FindAllStringSubmatch(string(text), -1) {
		told[m[1]] = false
	}
	total := 0
	for _, dir := range []string{"../chat", "../topics", "../hooks", "../hooks/auth", "../hooks/limits", "../delivery", "../broker", "../api"} {
		for word, at := range codes(t, dir) {
			total++
			if _, ok := told[word]; !ok {
				t.Errorf("%s: the code %q is not listed in docs/errors.md", at, word)
			}
			told[word] = true
		}
	}
	if total < 15 {
		t.Errorf("only %d codes were found in the sources: this test has gone blind", total)
	}
	for word, used := range told {
		if !used {
			t.Errorf("docs/errors.md lists %q, which nothing uses", word)
		}
	}
}
