package api_test

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tidings/api"
)

var update = flag.Bool("update", false, "rewrite the operations in docs/protocol.md")

const (
	protocolFile = "../docs/protocol.md"
	beginMark    = "<!-- operations: generated from the package api by: go test ./api -update -->\n"
	endMark      = "<!-- end of operations -->\n"
)

// TestProtocolHasEveryOperation keeps the description that clients' authors read
// equal to the table.
func TestProtocolHasEveryOperation(t *testing.T) {
	text, err := os.ReadFile(protocolFile)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok1 := strings.Cut(string(text), beginMark)
	have, tail, ok2 := strings.Cut(rest, endMark)
	if !ok1 || !ok2 {
		t.Fatalf("%s lacks the marks around the operations", protocolFile)
	}
	var want strings.Builder
	for _, op := range api.Users(api.Config{}).Operations() {
		describe(&want, &op)
	}
	if *update {
		if err := os.WriteFile(protocolFile, []byte(head+beginMark+want.String()+endMark+tail), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want.String(), have); diff != "" {
		t.Errorf("%s differs from the operations, run go test ./api -update (-want +have)\n%s", protocolFile, diff)
	}
}

func describe(b *strings.Builder, op *api.Operation) {
	fmt.Fprintf(b, "\n### `rpc/%s`\n\n%s\n", op.Name, op.Doc)
	table(b, "parameter", op.In)
	table(b, "result", op.Out)
}

func table(b *strings.Builder, what string, t reflect.Type) {
	if t.NumField() == 0 {
		fmt.Fprintf(b, "\nNo %ss.\n", what)
		return
	}
	fmt.Fprintf(b, "\n| %s | | |\n|---|---|---|\n", what)
	rows(b, "", t)
}

func rows(b *strings.Builder, prefix string, t reflect.Type) {
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		kind := f.Tag.Get("type")
		if name == "-" {
			name = f.Tag.Get("key")
		} else {
			kind = typeName(f.Type)
		}
		if f.Tag.Get("required") != "" {
			kind += ", required"
		}
		fmt.Fprintf(b, "| `%s%s` | %s | %s |\n", prefix, name, kind, f.Tag.Get("doc"))
		switch inner := f.Type; {
		case inner.Kind() == reflect.Slice && inner.Elem().Kind() == reflect.Struct:
			rows(b, prefix+name+"[].", inner.Elem())
		case inner.Kind() == reflect.Pointer && inner.Elem().Kind() == reflect.Struct:
			rows(b, prefix+name+".", inner.Elem())
		case inner.Kind() == reflect.Struct:
			rows(b, prefix+name+".", inner)
		}
	}
}

func typeName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return typeName(t.Elem())
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Struct {
			return "array of objects"
		}
		return "array of " + typeName(t.Elem()) + "s"
	case reflect.Struct:
		return "object"
	default:
		return "number"
	}
}

// TestEveryFieldIsDescribed covers both tables: an undescribed field is one that
// nobody can use.
func TestEveryFieldIsDescribed(t *testing.T) {
	for _, op := range api.Users(api.Config{}).Operations() {
		if op.Doc == "" {
			t.Errorf("%s has no description", op.Name)
		}
		for _, typ := range []reflect.Type{op.In, op.Out} {
			for _, f := range described(typ) {
				if f.Tag.Get("doc") == "" {
					t.Errorf("%s: %s.%s has no description", op.Name, typ, f.Name)
				}
			}
		}
	}
}

func described(t reflect.Type) []reflect.StructField {
	var out []reflect.StructField
	for f := range t.Fields() {
		out = append(out, f)
		inner := f.Type
		if inner.Kind() == reflect.Slice || inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct {
			out = append(out, described(inner)...)
		}
	}
	return out
}
