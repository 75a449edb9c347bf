package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// maxSocketPath is what fits sockaddr_un on every system: 104 bytes on some, 108
// on Linux, with a zero at the end.
const maxSocketPath = 103

// socketPath returns a name of a socket that is short enough for the kernel: the
// path itself, the path from the working directory, or, on Linux, one by way of
// the open directory, which is to be kept open as long as the name is used (nil
// where it is not needed).
func socketPath(path string) (short string, dir *os.File, err error) {
	if len(path) <= maxSocketPath {
		return path, nil, nil
	}
	if wd, err := os.Getwd(); err == nil {
		if abs, err := filepath.Abs(path); err == nil {
			if rel, err := filepath.Rel(wd, abs); err == nil && len(rel) <= maxSocketPath {
				return rel, nil, nil
			}
		}
	}
	dir, err = os.Open(filepath.Dir(path))
	if err != nil {
		return "", nil, fmt.Errorf("control socket: %w", err)
	}
	short = fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path))
	if _, err := os.Stat(filepath.Dir(short)); err != nil {
		_ = dir.Close() // was only read
		return "", nil, fmt.Errorf("control socket: the path of the data directory is too long for this system: at most %d bytes with /%s", maxSocketPath, controlName)
	}
	return short, dir, nil
}
