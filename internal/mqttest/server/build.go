package server

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

var build struct {
	once sync.Once
	path string
	err  error
}

// Build returns the binary under test: $TIDINGS_BIN, else the tree's ./cmd/tidings, built once per test run into bin/ at
// the root of the module. A failed build is not tried again.
func Build(ctx context.Context) (string, error) {
	if bin := os.Getenv("TIDINGS_BIN"); bin != "" {
		return bin, nil
	}
	build.once.Do(func() { build.path, build.err = buildTree(ctx) })
	return build.path, build.err
}

// buildTree renames the finished binary into place, so that test binaries of other packages that run it meanwhile keep
// theirs.
func buildTree(ctx context.Context) (string, error) {
	mod, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	root := filepath.Dir(strings.TrimSpace(string(mod)))
	bin := filepath.Join(root, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return "", err
	}
	tmp := filepath.Join(bin, fmt.Sprintf(".tidings-test-%d", os.Getpid()))
	defer os.Remove(tmp)
	cmd := exec.CommandContext(ctx, "go", "build", "-o", tmp, "./cmd/tidings")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the server: %w\n%s", err, out)
	}
	path := filepath.Join(bin, "tidings-test")
	return path, os.Rename(tmp, path)
}
