package api_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"tidings/topics"
)

// TestErrorsAreDocumented finds the code words in the source, as the values of
// constants called Code…, and wants each in docs/errors.md.
func TestErrorsAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	words := []string{
		topics.ErrMalformedFilter.Code, topics.ErrNotAllowed.Code, topics.ErrSharedSubscription.Code,
		topics.ErrTooManyLevels.Code, topics.ErrUnknownTopic.Code,
	}
	for _, dir := range []string{"../delivery", "../chat", "."} {
		words = append(words, codeWords(t, dir)...)
	}
	if len(words) < 15 {
		t.Fatalf("found only %d code words: %v", len(words), words)
	}
	for _, w := range words {
		if !strings.Contains(string(doc), "| `"+w+"` |") {
			t.Errorf("docs/errors.md does not explain %q", w)
		}
	}
}

func codeWords(t *testing.T, dir string) (words []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || len(spec.Values) != 1 || !strings.HasPrefix(spec.Names[0].Name, "Code") {
				return true
			}
			if lit, ok := spec.Values[0].(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if w, err := strconv.Unquote(lit.Value); err == nil {
					words = append(words, w)
				}
			}
			return true
		})
	}
	return words
}
