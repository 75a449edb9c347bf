// Package deptest keeps the imports of the module pointing one way. The rules stand as a table in
// imports_test.go; this package reads the source tree, parses that table and names every import that breaks it.
//
// It parses import clauses only and honours no build constraint, so one run on any system sees the files of
// all systems. Nothing here starts a process or type-checks; a run over the whole module takes milliseconds.
package deptest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Package is one directory of Go files.
type Package struct {
	// Dir is the directory below the module's root, slash separated; it is the import path without the module's
	// name.
	Dir string
	// Name is the name in the package clauses, "main" for a command.
	Name string
	// Doc is the package's doc comment, empty if none of its files has one.
	Doc string
	// Imports are the imports of the files that ship, TestImports those of _test.go files.
	Imports, TestImports []Import
	// TestOnly is true for a directory that holds _test.go files and nothing else.
	TestOnly bool
}

// Import is one import clause.
type Import struct {
	Path string
	// Pos is "dir/file.go:line", for the message.
	Pos string
}

// Load reads the packages of the module whose root is fsys, sorted by directory. It leaves out what the go
// command leaves out: testdata, names that begin with "." or "_", and nested modules; node_modules as well.
func Load(fsys fs.FS) ([]Package, error) {
	var pkgs []Package
	err := fs.WalkDir(fsys, ".", func(dir string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !d.IsDir() {
			return nil
		}
		if dir != "." && !inModule(fsys, dir) {
			return fs.SkipDir
		}
		pkg, err := loadDir(fsys, dir)
		if err != nil {
			return fmt.Errorf("read package %s: %w", dir, err)
		}
		if pkg.Name != "" {
			pkgs = append(pkgs, pkg)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(pkgs, func(a, b Package) int { return strings.Compare(a.Dir, b.Dir) })
	return pkgs, nil
}

// inModule tells whether the go command would look for packages of this module in dir.
func inModule(fsys fs.FS, dir string) bool {
	base := path.Base(dir)
	if base == "testdata" || base == "node_modules" || base[0] == '.' || base[0] == '_' {
		return false
	}
	_, err := fs.Stat(fsys, path.Join(dir, "go.mod"))
	return err != nil
}

// loadDir reads the Go files of one directory; the Name of a directory without any is empty.
func loadDir(fsys fs.FS, dir string) (Package, error) {
	pkg := Package{Dir: dir, TestOnly: true}
	entries, err := fs.ReadDir(fsys, dir)
	if err != nil {
		return pkg, err
	}
	for _, e := range entries {
		name := e.Name()
		if e.IsDir() || path.Ext(name) != ".go" || name[0] == '.' || name[0] == '_' {
			continue
		}
		if err := pkg.add(fsys, path.Join(dir, name)); err != nil {
			return pkg, err
		}
	}
	return pkg, nil
}

// add takes one file into the package.
func (p *Package) add(fsys fs.FS, file string) error {
	src, err := fs.ReadFile(fsys, file)
	if err != nil {
		return err
	}
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, file, src, parser.ImportsOnly|parser.ParseComments)
	if err != nil {
		return err
	}
	test := strings.HasSuffix(file, "_test.go")
	if p.Name == "" || !test {
		p.Name = strings.TrimSuffix(f.Name.Name, "_test")
	}
	if p.Doc == "" {
		p.Doc = f.Doc.Text()
	}
	for _, spec := range f.Imports {
		if test {
			p.TestImports = append(p.TestImports, newImport(fset, spec))
		} else {
			p.Imports = append(p.Imports, newImport(fset, spec))
		}
	}
	p.TestOnly = p.TestOnly && test
	return nil
}

func newImport(fset *token.FileSet, spec *ast.ImportSpec) Import {
	// The parser has checked that the path is a string literal.
	importPath, _ := strconv.Unquote(spec.Path.Value)
	pos := fset.Position(spec.Pos())
	return Import{Path: importPath, Pos: fmt.Sprintf("%s:%d", pos.Filename, pos.Line)}
}
