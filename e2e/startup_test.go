package e2e_test

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"tidings/internal/mqttest/server"
)

// serve runs the server for a start that has to fail, and returns its exit code and what it said.
func serve(t *testing.T, w *world, args ...string) (int, string) {
	t.Helper()
	bin, err := server.Build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	args = append([]string{"serve", "--data", w.Data(), "--mqtt", "127.0.0.1:0", "--http", "127.0.0.1:0"}, args...)
	out, err := exec.CommandContext(ctx, bin, args...).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() < 0 {
		t.Fatalf("serve: %v, want it to refuse\n%s", err, out)
	}
	return exit.ExitCode(), string(out)
}

func says(t *testing.T, code, want int, out string, words ...string) {
	t.Helper()
	if code != want {
		t.Errorf("exit code %d, want %d", code, want)
	}
	for _, word := range words {
		if !strings.Contains(out, word) {
			t.Errorf("the message does not say %q:\n%s", word, out)
		}
	}
}

// A data directory that this version cannot read is refused, and left as it is.
func TestCorruptOrNewerDataDirectory(t *testing.T) {
	t.Parallel()
	w := newWorld(t, server.Config{})
	ls := w.logins("alice/laptop", "bob/phone")
	w.online(ls[0], v5).send(user(ls[1]), "kept")
	w.stop()
	format := filepath.Join(w.Data(), "FORMAT")
	good, err := os.ReadFile(format)
	if err != nil || strings.TrimSpace(string(good)) != "1" {
		t.Fatalf("FORMAT holds %q, %v", good, err)
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(format, "99\n")
	code, out := serve(t, w)
	says(t, code, 4, out, "format 99", "newer tidings", w.Data())
	write(format, "x")
	code, out = serve(t, w)
	says(t, code, 4, out, "FORMAT", "restore the backup")
	write(format, string(good))

	current, err := filepath.Glob(filepath.Join(w.Data(), "store", "MANIFEST-*"))
	if err != nil || len(current) == 0 {
		t.Fatalf("manifests: %v, %v", current, err)
	}
	manifest, err := os.ReadFile(current[len(current)-1])
	if err != nil {
		t.Fatal(err)
	}
	write(current[len(current)-1], strings.Repeat("garbage ", len(manifest)/8+1))
	code, out = serve(t, w)
	says(t, code, 4, out, "backup")
	write(current[len(current)-1], string(manifest))

	other := t.TempDir()
	write(filepath.Join(other, "thesis.txt"), "years of work")
	code, out = serve(t, w, "--data", other)
	says(t, code, 4, out, "thesis.txt", "FORMAT")

	w.start()
	w.online(ls[1], v5).texts(user(ls[1]), "kept")
}

func TestDataDirectoryInUse(t *testing.T) {
	t.Parallel()
	w := sharedWorld(t)
	code, out := serve(t, w)
	says(t, code, 3, out, "in use", w.Data())
	w.cli("", "user", "list") // the one that has it is well
}

func TestBusyPort(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	busy := ln.Addr().String()
	w := &world{t: t}
	if w.Server, err = server.New(t.Context(), server.Config{Dir: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	for _, flag := range []string{"--mqtt", "--http"} {
		code, out := serve(t, w, flag, busy)
		says(t, code, 5, out, busy, "taken", flag)
	}
}

func TestUnknownConfigKey(t *testing.T) {
	t.Parallel()
	w := &world{t: t}
	var err error
	if w.Server, err = server.New(t.Context(), server.Config{Dir: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	args := withConfig(t, "# settings\nlimits:\n  body: 1MiB\n  bdoy: 2MiB\nretentoin: 30d\n")
	code, out := serve(t, w, args...)
	says(t, code, 2, out, args[1]+":4", "bdoy", "limits.body", args[1]+":5", "retention")
	args = withConfig(t, "retention: soon\n")
	code, out = serve(t, w, args...)
	says(t, code, 2, out, args[1]+":1", "soon")
	if _, err := os.Stat(w.Data()); err == nil {
		t.Error("the data directory was made all the same")
	}
}
