package deptest_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"tidings/internal/deptest"
)

// tree makes a module of one-line files.
func tree(files map[string]string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for name, src := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(src)}
	}
	return fsys
}

const small = `
low:
low/*: low
high:  low
cmd/*: *

# drivers stay low
only low/*: example.org/driver
`

func TestCheck(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		want  []string
	}{
		{name: "down", files: map[string]string{"high/a.go": `package high; import "m/low"`}},
		{
			name:  "up",
			files: map[string]string{"low/a.go": "package low\n\nimport \"m/high\"\n"},
			want:  []string{`low/a.go:3: low may not import high (rule "low: ")`},
		},
		{
			name:  "other system",
			files: map[string]string{"low/a_plan9.go": "//go:build plan9\n\npackage low; import \"m/high\""},
			want:  []string{`low/a_plan9.go:3: low may not import high (rule "low: ")`},
		},
		{
			name:  "below is not the same",
			files: map[string]string{"high/a.go": `package high; import "m/low/x"`},
			want:  []string{`high/a.go:1: high may not import low/x (rule "high: low")`},
		},
		{name: "tests are free", files: map[string]string{"low/a_test.go": `package low_test; import "m/high"`}},
		{name: "commands are free", files: map[string]string{"cmd/x/a.go": `package main; import "m/low/x"`}},
		{
			name:  "unknown",
			files: map[string]string{"util/a.go": "package util"},
			want:  []string{`package util has no rule: add a line "util: …" with the packages that it may import`},
		},
		{name: "unknown, tests only", files: map[string]string{"suite/a_test.go": "package suite_test"}},
		{
			name:  "unknown, longer name",
			files: map[string]string{"lower/a.go": "package lower"},
			want:  []string{`package lower has no rule: add a line "lower: …" with the packages that it may import`},
		},
		{name: "guarded, allowed", files: map[string]string{"low/x/a.go": `package x; import "example.org/driver/sub"`}},
		{
			name:  "guarded",
			files: map[string]string{"high/a.go": `package high; import _ "example.org/driver"`},
			want:  []string{"high/a.go:1: high may not import example.org/driver: drivers stay low"},
		},
		{name: "guarded, longer name", files: map[string]string{"high/a.go": `package high; import "example.org/drivers"`}},
		{
			name: "not of the module",
			files: map[string]string{
				"testdata/a.go": "package a", "_x/a.go": "package a", ".y/a.go": "package a",
				"tools/go.mod": "module other", "tools/a.go": "package a", "node_modules/a.go": "package a",
			},
		},
	}
	policy, err := deptest.Parse("m", small)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			pkgs, err := deptest.Load(tree(tt.files))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, policy.Check(pkgs)); diff != "" {
				t.Errorf("violations (-want +have):\n%s", diff)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for _, tt := range []struct{ line, want string }{
		{"no colon", "want NAME"},
		{": low", "want NAME"},
		{"a b: low", "one package a line"},
		{"a:\na: low", "a stands twice"},
		{"only a: example.org/driver", "needs an import and a reason"},
		{"# why\nonly a:", "needs an import and a reason"},
	} {
		_, err := deptest.Parse("m", tt.line)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Parse(%q): want an error with %q, have %v", tt.line, tt.want, err)
		}
	}
}

func TestLoad(t *testing.T) {
	pkgs, err := deptest.Load(tree(map[string]string{
		"a/a.go":       "package a\n\nimport \"fmt\"\n",
		"a/doc.go":     "// Package a is documented.\npackage a\n",
		"a/a_test.go":  "package a_test\n\nimport \"testing\"\n",
		"b/b_test.go":  "package b_test\n",
		"c/readme.txt": "no Go here",
	}))
	if err != nil {
		t.Fatal(err)
	}
	want := []deptest.Package{
		{
			Dir: "a", Name: "a", Doc: "Package a is documented.\n",
			Imports:     []deptest.Import{{Path: "fmt", Pos: "a/a.go:3"}},
			TestImports: []deptest.Import{{Path: "testing", Pos: "a/a_test.go:3"}},
		},
		{Dir: "b", Name: "b", TestOnly: true},
	}
	if diff := cmp.Diff(want, pkgs); diff != "" {
		t.Errorf("packages (-want +have):\n%s", diff)
	}
	if _, err := deptest.Load(tree(map[string]string{"a/a.go": "not Go"})); err == nil {
		t.Error("Load of a broken file: want an error, have none")
	}
}
