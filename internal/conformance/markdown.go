package conformance

import (
	"bytes"
	"fmt"
	"strings"
)

const intro = `# Conformance

Every normative statement of MQTT 3.1.1 and MQTT 5.0, in our own words and under the specification's number, with the
tests that show it, or why there is none. Of a statement that binds the client the tests show what the server does with
a client that breaks it.

This page is generated: ` + "`go test ./internal/conformance -update`" + ` collects it from the lines ` + "`// Shows MQTT5-3.1.0-1.`" + ` in the tests,
and the same test without the flag fails when the page is out of date or a statement is without a test and a reason.

Most statements are shown over the wire against the real binary, by the package ` + "`e2e/conformance`" + `. Where chat topics differ on purpose
from ordinary MQTT (own messages, QoS of a delivery, retained messages), [protocol.md](protocol.md) says how.
`

// Markdown writes the page docs/conformance.md.
func Markdown(versions []Version, found Markers) []byte {
	var b bytes.Buffer
	b.WriteString(intro)
	b.WriteString("\n| | statements | shown by tests | not shown, with a reason |\n|---|---|---|---|\n")
	for _, v := range versions {
		shown := 0
		for _, s := range v.Statements {
			if len(found[v.Mark+"-"+s.ID]) > 0 {
				shown++
			}
		}
		fmt.Fprintf(&b, "| %s | %d | %d | %d |\n", v.Name, len(v.Statements), shown, len(v.Statements)-shown)
	}
	for _, v := range versions {
		fmt.Fprintf(&b, "\n## %s\n\n| statement | binds | what it asks | shown by, or why not |\n|---|---|---|---|\n", v.Name)
		for _, s := range v.Statements {
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", s.ID, s.Binds, s.Says, v.evidence(s.ID, found))
		}
	}
	return b.Bytes()
}

// evidence lists the tests of a statement, package by package, or gives the reason.
func (v *Version) evidence(id string, found Markers) string {
	tests := found[v.Mark+"-"+id]
	if len(tests) == 0 {
		return "– " + v.Reasons[id]
	}
	var b strings.Builder
	for i, t := range tests {
		switch {
		case i == 0:
			fmt.Fprintf(&b, "%s: ", t.Package)
		case t.Package != tests[i-1].Package:
			fmt.Fprintf(&b, "; %s: ", t.Package)
		default:
			b.WriteString(", ")
		}
		b.WriteString(t.Name)
	}
	return b.String()
}
