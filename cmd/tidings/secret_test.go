package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSecretStays(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	first, err := loadSecret(dir)
	if err != nil {
		t.Fatal(err)
	}
	again, err := loadSecret(dir)
	if err != nil || !bytes.Equal(first, again) {
		t.Errorf("the second time the secret is another one: %v", err)
	}
	if foreign, err := loadSecret(other); err != nil || bytes.Equal(first, foreign) {
		t.Errorf("two directories have the same secret: %v", err)
	}
	name := filepath.Join(dir, secretFile)
	if info, err := os.Stat(name); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode of the file: %v, %v", info.Mode(), err)
	}
	if err := os.WriteFile(name, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := loadSecret(dir); err == nil || !strings.Contains(err.Error(), "SECRET has 5 bytes instead of 32") {
		t.Errorf("a broken file: %v", err)
	}
}
