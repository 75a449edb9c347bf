package pebble

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tidings/storage"
)

const (
	formatNumber = 1 // of the layout in keys.go
	formatFile   = "FORMAT"
	formatTemp   = "FORMAT.tmp" // beginning of the names of temporary files
	storeDir     = "store"
)

// checkFormat makes sure that dir has our format, and initialises an empty or
// absent one. FORMAT is written before the database: a crash in between leaves a
// directory with FORMAT alone, which the next start completes.
func checkFormat(fsys vfs.FS, dir string) error {
	text, err := readSmall(fsys, fsys.PathJoin(dir, formatFile))
	if err == nil {
		return checkNumber(dir, text)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read %s: %w", formatFile, err)
	}
	if err := fsys.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	names, err := fsys.List(dir)
	if err != nil {
		return fmt.Errorf("list data directory: %w", err)
	}
	if slices.Contains(names, formatFile) { // another process was faster
		if text, err = readSmall(fsys, fsys.PathJoin(dir, formatFile)); err != nil {
			return fmt.Errorf("read %s: %w", formatFile, err)
		}
		return checkNumber(dir, text)
	}
	for _, name := range names {
		if strange(name) {
			return fmt.Errorf("%w: %s holds %q but no file %s, so it is not a Tidings data directory "+
				"or its %s was lost; choose an empty directory, or restore the backup",
				storage.ErrFormat, dir, name, formatFile, formatFile)
		}
	}
	return writeFormat(fsys, dir)
}

// strange tells whether name keeps a directory from counting as empty. Dot files
// and what mkfs leaves do not.
func strange(name string) bool {
	return !strings.HasPrefix(name, formatTemp) && name != "lost+found" && !strings.HasPrefix(name, ".")
}

func checkNumber(dir, text string) error {
	n, err := strconv.ParseUint(strings.TrimSuffix(text, "\n"), 10, 31)
	switch {
	case err != nil || n == 0:
		return fmt.Errorf("%w: %s in %s is not a format number; restore the backup, "+
			"or write %d to it if you are sure the rest is intact", storage.ErrFormat, formatFile, dir, formatNumber)
	case n > formatNumber:
		return fmt.Errorf("%w: %s has format %d, this version knows up to %d; start a newer tidings",
			storage.ErrFormat, dir, n, formatNumber)
	}
	return nil
}

// writeFormat writes FORMAT durably: it is there whole or not at all. Another
// process may do the same just now, a server and an operator's command, say: each
// has a temporary file of its own, and they write the same.
func writeFormat(fsys vfs.FS, dir string) error {
	tmp := fsys.PathJoin(dir, fmt.Sprintf("%s.%x", formatTemp, rand.Uint64()))
	f, err := fsys.Create(tmp, vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("write %s: %w", formatFile, err)
	}
	_, err = io.WriteString(f, strconv.Itoa(formatNumber)+"\n")
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = fsys.Rename(tmp, fsys.PathJoin(dir, formatFile))
	}
	if err == nil {
		err = syncDir(fsys, dir)
	}
	if err == nil {
		err = syncDir(fsys, fsys.PathDir(dir))
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", formatFile, err)
	}
	return nil
}

func syncDir(fsys vfs.FS, dir string) error {
	if dir == "" {
		dir = "."
	}
	d, err := fsys.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// readSmall returns the beginning of a file, enough for any format number.
func readSmall(fsys vfs.FS, name string) (string, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(io.LimitReader(f, 64))
	return string(b), errors.Join(err, f.Close())
}
