package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"tidings/hooks/auth"
)

// secretFile holds what the salts of users who do not exist are made from, in the
// data directory. Losing it harms nobody: a new one is made.
const secretFile = "SECRET"

// loadSecret reads the secret of a data directory, or makes it. Only one process
// does so at a time: the caller has the store open.
func loadSecret(dir string) ([]byte, error) {
	name := filepath.Join(dir, secretFile)
	secret, err := os.ReadFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return makeSecret(name)
	case err != nil:
		return nil, fmt.Errorf("read the secret: %w", err)
	case len(secret) != auth.SecretBytes:
		return nil, fmt.Errorf("%s has %d bytes instead of %d: restore the backup, or remove the file and a new one is made",
			name, len(secret), auth.SecretBytes)
	}
	return secret, nil
}

// makeSecret writes a new secret durably: it is there whole or not at all.
func makeSecret(name string) ([]byte, error) {
	secret := make([]byte, auth.SecretBytes)
	rand.Read(secret) // never fails: crypto/rand ends the process instead
	temp := name + ".tmp"
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make the secret: %w", err)
	}
	_, err = f.Write(secret)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(temp, name)
	}
	if err != nil {
		return nil, fmt.Errorf("make the secret: %w", err)
	}
	return secret, nil
}
