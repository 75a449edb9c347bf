package crashtest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// FromEnv reads a positive number from the environment.
func FromEnv(t testing.TB, name string, fallback uint64) uint64 {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return fallback
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n == 0 {
		t.Fatalf("%s=%q: want a positive number", name, s)
	}
	return n
}

// Save writes a record as one JSON object a line, below the artifact directory (go test -artifacts keeps it), and returns
// the file's name, or why there is none.
func Save[E any](t testing.TB, events []E) string {
	path := filepath.Join(t.ArtifactDir(), "record.jsonl")
	f, err := os.Create(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	enc := json.NewEncoder(f)
	for _, e := range events {
		if err := enc.Encode(e); err != nil {
			return err.Error()
		}
	}
	return path
}
