package deptest_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	// required is a line of a require block in go.mod.
	required = regexp.MustCompile(`(?m)^\s+(\S+\.\S+) (v\S+)`)
	// reasoned is a row of a table of dependencies in CONTRIBUTING.md: module, version, why.
	reasoned = regexp.MustCompile("(?m)^\\| `(\\S+)` \\| (\\S+) \\| \\S")
)

// pairs returns what re's two groups match in a file below the root, the first group as the key.
func pairs(t *testing.T, file string, re *regexp.Regexp) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../../" + file)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, m := range re.FindAllStringSubmatch(string(text), -1) {
		found[m[1]] = m[2]
	}
	if len(found) == 0 {
		t.Fatalf("%s: nothing matches %s", file, re)
	}
	return found
}

// TestDependencies holds the tables of CONTRIBUTING.md against what is imported and the versions in go.mod.
func TestDependencies(t *testing.T) {
	pinned := pairs(t, "go.mod", required)
	reasons := pairs(t, "CONTRIBUTING.md", reasoned)
	told := map[string]bool{}
	for _, pkg := range load(t) {
		for _, imp := range slices.Concat(pkg.Imports, pkg.TestImports) {
			module := moduleOf(imp.Path, pinned)
			if module == "" || told[module] {
				continue
			}
			told[module] = true
			if reasons[module] != pinned[module] {
				t.Errorf("%s imports %s %s: CONTRIBUTING.md should list it at that version with its reason, has %q",
					imp.Pos, module, pinned[module], reasons[module])
			}
		}
	}
}

// moduleOf returns the module of go.mod that holds the package, "" for our own and the standard library's.
func moduleOf(importPath string, pinned map[string]string) string {
	longest := ""
	for module := range pinned {
		if (importPath == module || strings.HasPrefix(importPath, module+"/")) && len(module) > len(longest) {
			longest = module
		}
	}
	return longest
}
