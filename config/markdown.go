package config

import (
	"fmt"
	"strings"
)

const intro = `# Configuration

<!-- Generated from the package config. Change config/config.go, then run: go test ./config -update -->

Every setting has a default, so that a server starts without any. A setting can be given in three ways, here for
` + "`limits.body`" + `:

| where | how |
|---|---|
| file (YAML), named by ` + "`--config`" + ` | ` + "`body: 512KiB` below `limits:`" + ` |
| environment | ` + "`TIDINGS_LIMITS_BODY=512KiB`" + ` |
| command line | ` + "`--limits-body 512KiB`" + ` |

A flag goes before a variable, a variable before the file, the file before the default. An empty variable counts as not
set. Durations are written as ` + "`200ms`, `30s`, `12h`, `30d` or `1d12h`" + `, sizes as ` + "`512B`, `256KiB`, `64MiB` or `1GiB`" + `, lists in the
file as a YAML list and elsewhere with commas (a flag may be repeated).

An unknown key and a value that cannot be used are errors: the server names the file and the line, the variable or the
flag of every one of them, and does not start. An unknown variable that begins with ` + "`TIDINGS_`" + ` gives a warning.
`

// openIntro stands before openExample.
const openIntro = `
## Open topics, an example

Members of the group home may see everything in the house and its admins may write there, the lamps are open to alice as well,
each device may write below its own client identifier, and what is not named is closed. A rule that has a ` + "` #`" + ` needs quotes.

`

const openExample = `open_topics:
  - open/#
access:
  - allow @home subscribe open/home/#
  - allow @home:admin publish open/home/#
  - allow alice publish open/home/+/set
  - allow * publish open/dev/%c/#
  - "deny * all #"
`

// Markdown returns docs/config.md.
func Markdown() string {
	var b strings.Builder
	b.WriteString(intro)
	var c Config
	section := "-"
	for _, f := range fields {
		if s := f.section(); s != section {
			section = s
			title := "Settings below `" + s + "`"
			if s == "" {
				title = "Settings"
			}
			fmt.Fprintf(&b, "\n## %s\n\n| key | default | type | |\n|---|---|---|---|\n", title)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.key, f.defaultText(), f.typeText(typeName(f.of(&c))), f.doc)
	}
	b.WriteString(openIntro + "```yaml\n" + openExample + "```\n")
	b.WriteString("\n## A file with all defaults\n\n```yaml\n" + defaultsFile() + "```\n")
	return b.String()
}

func (f field) defaultText() string {
	switch {
	case f.auto != "":
		return f.auto
	case f.def == "":
		return "none"
	}
	return "`" + f.def + "`"
}

func (f field) typeText(kind string) string {
	switch {
	case len(f.oneof) > 0:
		return "`" + strings.Join(f.oneof, "`, `") + "`"
	case f.min != "" && f.max != "":
		return fmt.Sprintf("%s, `%s` to `%s`", kind, f.min, f.max)
	case f.min != "" && f.min != "0":
		return fmt.Sprintf("%s, at least `%s`", kind, f.min)
	case f.max != "":
		return fmt.Sprintf("%s, at most `%s`", kind, f.max)
	}
	return kind
}

// defaultsFile returns a file that says what holds without one.
func defaultsFile() string {
	var b strings.Builder
	var open []string // sections that the line before is in
	for _, f := range fields {
		parts := strings.Split(f.key, ".")
		sections := parts[:len(parts)-1]
		for i, s := range sections {
			if i >= len(open) || open[i] != s {
				fmt.Fprintf(&b, "%s%s:\n", strings.Repeat("  ", i), s)
				open = append(open[:i], s)
			}
		}
		open = open[:len(sections)]
		value := f.def
		var c Config
		switch {
		case typeName(f.of(&c)) == "list":
			value = "[" + f.def + "]"
		case value == "":
			value = `""`
		}
		if f.auto != "" {
			value += " # " + f.auto
		}
		fmt.Fprintf(&b, "%s%s: %s\n", strings.Repeat("  ", len(sections)), f.name(), value)
	}
	return b.String()
}
