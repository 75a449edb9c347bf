package config_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tidings/config"
)

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "0s": 0, "200ms": 200 * time.Millisecond, "1.5s": 1500 * time.Millisecond, "12h": 12 * time.Hour,
		"30d": 720 * time.Hour, "1d12h": 36 * time.Hour, "0d1m": time.Minute,
	} {
		if got, err := config.ParseDuration(text); err != nil || time.Duration(got) != want {
			t.Errorf("ParseDuration(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "7", "d", "-1s", "-1d", "+1s", "1d-1s", "1d+1s", "1.5d", "1d1d", "1w", "106752d", "106751d24h", "9999999999d", "forever"} {
		if got, err := config.ParseDuration(text); err == nil {
			t.Errorf("ParseDuration(%q) = %v, want an error", text, got)
		}
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]config.Size{
		"0": 0, "7": 7, "512B": 512, "256KiB": 256 << 10, "64MiB": 64 << 20, "1GiB": 1 << 30, "2TiB": 2 << 40,
	} {
		if got, err := config.ParseSize(text); err != nil || got != want {
			t.Errorf("ParseSize(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "B", "KiB", "-1", "+1", "1.5MiB", "1KB", "1 KiB", "1kib", "1K", "9223372036854775808", "8388608TiB"} {
		if got, err := config.ParseSize(text); err == nil {
			t.Errorf("ParseSize(%q) = %d, want an error", text, got)
		}
	}
}

func TestTextFormsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := config.Duration(rapid.Int64Range(0, math.MaxInt64).Draw(t, "duration"))
		if rapid.Bool().Draw(t, "round") {
			d -= d % config.Duration(time.Minute)
		}
		if got, err := config.ParseDuration(d.String()); err != nil || got != d {
			t.Errorf("ParseDuration(%s) = %v, %v; want %d", d, got, err, d)
		}
		s := config.Size(rapid.Int64Range(0, math.MaxInt64).Draw(t, "size")) &^ (1<<rapid.IntRange(0, 50).Draw(t, "zeros") - 1)
		if got, err := config.ParseSize(s.String()); err != nil || got != s {
			t.Errorf("ParseSize(%s) = %v, %v; want %d", s, got, err, s)
		}
	})
	for text, d := range map[string]time.Duration{
		"0": 0, "30d": 720 * time.Hour, "1d12h": 36 * time.Hour, "20m": 20 * time.Minute, "1h1m1s": 3661 * time.Second, "200ms": 200 * time.Millisecond,
	} {
		if got := config.Duration(d).String(); got != text {
			t.Errorf("String = %s, want %s", got, text)
		}
	}
}

func TestNodeName(t *testing.T) {
	for host, want := range map[string]string{
		"":                       "node",
		"Web-1.Example.com":      "web-1.example.com",
		"-._x":                   "x",
		"büro":                   "b-ro",
		"---":                    "node",
		strings.Repeat("a", 100): strings.Repeat("a", 64),
	} {
		if got := config.NodeName(host); got != want {
			t.Errorf("NodeName(%q) = %q, want %q", host, got, want)
		}
	}
}

func TestEdits(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"body", "bdy", 1}, {"body", "bodies", 3}, {"kitten", "sitting", 3}, {"same", "same", 0}} {
		if got := config.Edits(tc.a, tc.b); got != tc.want {
			t.Errorf("edits(%q, %q) = %d, want %d", tc.a, tc.b, got, tc.want)
		}
	}
}
