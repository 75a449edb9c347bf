package conformance_test

import (
	"cmp"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"tidings/internal/conformance"
)

var update = flag.Bool("update", false, "write docs/conformance.md")

// TestDocument holds docs/conformance.md against the statements and the markers in the module's tests.
func TestDocument(t *testing.T) {
	const file = "../../docs/conformance.md"
	found, err := conformance.Scan("../..")
	if err != nil {
		t.Fatal(err)
	}
	if err := conformance.Check(conformance.Versions(), found); err != nil {
		t.Error(err)
	}
	want := conformance.Markdown(conformance.Versions(), found)
	if *update {
		if err := os.WriteFile(file, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("docs/conformance.md is out of date: run go test ./internal/conformance -update (-want +got)\n%s", diff)
	}
}

// TestStatements checks the form of the list itself: order, no number twice, whole sentences, nothing that would break a
// table.
func TestStatements(t *testing.T) {
	for _, v := range conformance.Versions() {
		last := ""
		for _, s := range v.Statements {
			if last != "" && compareIDs(last, s.ID) >= 0 {
				t.Errorf("%s: %s stands behind %s", v.Name, s.ID, last)
			}
			last = s.ID
			if s.Binds != conformance.Server && s.Binds != conformance.Client && s.Binds != conformance.Both {
				t.Errorf("%s: %s binds %q", v.Name, s.ID, s.Binds)
			}
			if !strings.HasSuffix(s.Says, ".") || strings.ContainsAny(s.Says, "|\n") {
				t.Errorf("%s: %s says %q", v.Name, s.ID, s.Says)
			}
		}
		for id, why := range v.Reasons {
			if !strings.HasSuffix(why, ".") || strings.ContainsAny(why, "|\n") {
				t.Errorf("%s: the reason of %s is %q", v.Name, id, why)
			}
		}
	}
	for i, want := range []int{141, 251} { // as the specifications have them
		if v := conformance.Versions()[i]; len(v.Statements) != want {
			t.Errorf("%s: %d statements, want %d", v.Name, len(v.Statements), want)
		}
	}
}

// compareIDs orders statements as the specification does: 3.2.2-9 before 3.2.2-10, and 3.9 before 3.10.
func compareIDs(a, b string) int {
	split := func(r rune) bool { return r == '.' || r == '-' }
	return slices.CompareFunc(strings.FieldsFunc(a, split), strings.FieldsFunc(b, split), func(x, y string) int {
		m, _ := strconv.Atoi(x)
		n, _ := strconv.Atoi(y)
		return cmp.Compare(m, n)
	})
}

// scan scans a module of one test file.
func scan(t *testing.T, src string) (conformance.Markers, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "pkg", "testdata"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"pkg/a_test.go":          "package pkg\n" + src,
		"pkg/a.go":               "package pkg\n// Shows MQTT5-9.9.9-1.\n",
		"pkg/testdata/b_test.go": "this is no Go\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return conformance.Scan(dir)
}

func TestScan(t *testing.T) {
	got, err := scan(t, `
// TestA does.
//
// Shows MQTT5-3.1.0-1, MQTT3-3.1.0-1.
func TestA(t *testing.T) {
	// Shows MQTT3-3.1.0-2.
	for {
		// Shows MQTT5-3.1.0-1.
		break // It shows MQTT all the time.
	}
}

func TestB(t *testing.T) { // Shows MQTT3-3.1.0-2.
}

func FuzzC(f *testing.F) {
	// Shows MQTT5-4.2-1.
}
`)
	if err != nil {
		t.Fatal(err)
	}
	a, b, c := conformance.Test{Package: "pkg", Name: "TestA"}, conformance.Test{Package: "pkg", Name: "TestB"}, conformance.Test{Package: "pkg", Name: "FuzzC"}
	want := conformance.Markers{"MQTT5-3.1.0-1": {a}, "MQTT3-3.1.0-1": {a}, "MQTT3-3.1.0-2": {a, b}, "MQTT5-4.2-1": {c}}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestScanRefusesWhatIsMeantAsMarker(t *testing.T) {
	for _, src := range []string{
		"// Shows MQTT5-3.1.0-1.\nvar x int\nfunc TestA(t *testing.T) {}",
		"func helper(t *testing.T) {\n// Shows MQTT5-3.1.0-1.\n}",
		"func TestMain(m *testing.M) {\n// Shows MQTT5-3.1.0-1.\n}",
		"func (s *suite) TestA(t *testing.T) {\n// Shows MQTT5-3.1.0-1.\n}",
		"func TestA(t *testing.T) {\n// Shows MQTT5-3.1.0-1\n}",
		"func TestA(t *testing.T) {\n// Shows MQTT-3.1.0-1.\n}",
		"func TestA(t *testing.T) {\n// Shows MQTT5-3.1.0-1 MQTT5-3.1.0-2.\n}",
		"func TestA(t *testing.T) {\n// shows MQTT5-3.1.0-1.\n}",
		"func TestA(t *testing.T) {\n//Shows: MQTT5-3.1.0-1.\n}",
		"func TestA(t *testing.T) {\n// Shows MQTT5-3.1.0-1, and more.\n}",
		"func TestA(t *testing.T) {",
	} {
		if got, err := scan(t, src); err == nil {
			t.Errorf("%s: no error, found %v", src, got)
		}
	}
}

func TestCheck(t *testing.T) {
	v := conformance.Version{
		Mark: "MQTT5",
		Statements: []conformance.Statement{
			{ID: "1-1", Says: "shown."},
			{ID: "1-2", Says: "reasoned."},
			{ID: "1-3", Says: "neither."},
			{ID: "1-4", Says: "both."},
		},
		Reasons: map[string]string{"1-2": "Why.", "1-4": "Why.", "1-9": "Why."},
	}
	test := []conformance.Test{{Package: "p", Name: "TestA"}}
	err := conformance.Check([]conformance.Version{v}, conformance.Markers{"MQTT5-1-1": test, "MQTT5-1-4": test, "MQTT3-1-1": test})
	const want = `MQTT3-1-1: marked in p.TestA, and no such statement
MQTT5-1-3: no test shows it, and there is no reason why (neither.)
MQTT5-1-4: a test shows it, so the reason why none does is out of date
MQTT5-1-9: has a reason, and is no statement`
	if diff := gocmp.Diff(want, err.Error()); diff != "" {
		t.Error(diff)
	}
	v.Statements, v.Reasons = v.Statements[:2], map[string]string{"1-2": "Why."}
	good := conformance.Markers{"MQTT5-1-1": append(test, conformance.Test{Package: "p", Name: "TestB"}, conformance.Test{Package: "q", Name: "TestC"})}
	if err := conformance.Check([]conformance.Version{v}, good); err != nil {
		t.Error(err)
	}
	page := string(conformance.Markdown([]conformance.Version{v}, good))
	for _, line := range []string{"| 1-1 |  | shown. | p: TestA, TestB; q: TestC |\n", "| 1-2 |  | reasoned. | – Why. |\n", "|  | 2 | 1 | 1 |\n"} {
		if !strings.Contains(page, line) {
			t.Errorf("the page lacks %q:\n%s", line, page)
		}
	}
}
