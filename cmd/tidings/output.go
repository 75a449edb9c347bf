package main

import (
	"encoding/json"
	"strings"
	"text/tabwriter"
	"time"
)

// table writes columns for people.
type table struct{ w *tabwriter.Writer }

func (t *table) row(cells ...string) {
	_, _ = t.w.Write([]byte(strings.Join(cells, "\t") + "\n")) // the error comes again at Flush
}

// print writes one value: as a line of JSON, or as text.
func (c *command) print(v any, text func(*table)) error {
	if err := c.checkOutput(); err != nil {
		return err
	}
	if c.output == "json" {
		return c.jsonLine(v)
	}
	t := &table{tabwriter.NewWriter(c.out, 0, 8, 2, ' ', 0)}
	text(t)
	return t.w.Flush()
}

func (c *command) jsonLine(v any) error {
	enc := json.NewEncoder(c.out)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// printList writes a list: one object a line as JSON, else a table with a head.
func printList[T any](c *command, list []T, head []string, row func(T) []string) error {
	if c.output == "json" {
		for _, v := range list {
			if err := c.jsonLine(v); err != nil {
				return err
			}
		}
		return nil
	}
	return c.print(list, func(t *table) {
		t.row(head...)
		for _, v := range list {
			t.row(row(v)...)
		}
	})
}

// when writes a time in Unix milliseconds for people.
func when(ms int64) string {
	if ms == 0 {
		return "-"
	}
	return time.UnixMilli(ms).UTC().Format("2006-01-02 15:04:05Z")
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// shown makes text of users' making safe for a terminal.
func shown(s string) string {
	if s == "" {
		return "-"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}
