package conformance

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Test names a test function of the module.
type Test struct {
	Package string // directory below the module's root
	Name    string
}

// Markers are the tests that show each statement, by what markers call it (MQTT5-3.1.0-1), in order of package and name.
type Markers map[string][]Test

// form is a marker as it should be.
const form = "// Shows MQTT5-3.1.0-1, MQTT3-3.1.0-1."

var (
	marker = regexp.MustCompile(`^// Shows (MQTT[35]-[0-9.]+-[0-9]+(?:, MQTT[35]-[0-9.]+-[0-9]+)*)\.$`)
	intent = regexp.MustCompile(`^//\s*[Ss]hows:? MQTT`)
)

// Scan reads the markers of all tests below root. A comment that seems to be meant as a marker and is none, or that
// belongs to no test function, is an error.
func Scan(root string) (Markers, error) {
	found := make(Markers)
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != root && skipped(d.Name()):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, "_test.go"):
			return nil
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		src, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		return found.addFile(filepath.ToSlash(rel), src)
	})
	for _, tests := range found {
		slices.SortFunc(tests, func(a, b Test) int {
			return strings.Compare(a.Package+" "+a.Name, b.Package+" "+b.Name)
		})
	}
	return found, err
}

// skipped says whether the go command looks past a directory of that name, or another language owns it.
func skipped(dir string) bool {
	return dir[0] == '.' || dir[0] == '_' || dir == "testdata" || dir == "node_modules"
}

// addFile adds the markers of one file; name is its path below the module's root.
func (m Markers) addFile(name string, src []byte) error {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	for _, group := range file.Comments {
		for _, c := range group.List {
			if !intent.MatchString(c.Text) {
				continue
			}
			ids := marker.FindStringSubmatch(c.Text)
			if ids == nil {
				return fmt.Errorf("%s: %q is not of the form %q", fset.Position(c.Pos()), c.Text, form)
			}
			test := owner(file, c.Pos())
			if test == "" {
				return fmt.Errorf("%s: the marker belongs to no test", fset.Position(c.Pos()))
			}
			m.add(Test{path.Dir(name), test}, strings.Split(ids[1], ", "))
		}
	}
	return nil
}

// add notes that a test shows statements; saying so twice adds nothing.
func (m Markers) add(t Test, ids []string) {
	for _, id := range ids {
		if !slices.Contains(m[id], t) {
			m[id] = append(m[id], t)
		}
	}
}

// owner is the test function whose body or doc comment holds pos; "" if there is none.
func owner(file *ast.File, pos token.Pos) string {
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Recv != nil || !isTest(f.Name.Name) {
			continue
		}
		begin := f.Pos()
		if f.Doc != nil {
			begin = f.Doc.Pos()
		}
		if begin <= pos && pos < f.End() {
			return f.Name.Name
		}
	}
	return ""
}

func isTest(name string) bool {
	return strings.HasPrefix(name, "Test") && name != "TestMain" || strings.HasPrefix(name, "Fuzz")
}
