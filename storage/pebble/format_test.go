package pebble_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tidings/storage"
	"tidings/storage/pebble"
)

func TestFormat(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string // a name that ends in / is a directory
		want  error
		hint  string // the sentence says what to do
	}{
		{name: "empty"},
		{name: "hidden files only", files: map[string]string{".keep": "", "lost+found/": ""}},
		{name: "crash before FORMAT was whole", files: map[string]string{"FORMAT.tmp": ""}},
		{name: "crash behind FORMAT", files: map[string]string{"FORMAT": "1\n"}},
		{name: "no newline", files: map[string]string{"FORMAT": "1"}},
		{name: "beside other files", files: map[string]string{"FORMAT": "1\n", "socket": "", "secret.key": "x"}},
		{
			name: "newer", files: map[string]string{"FORMAT": "2\n", "store/": ""},
			want: storage.ErrFormat, hint: "start a newer tidings",
		},
		{
			name: "garbled", files: map[string]string{"FORMAT": "one\n"},
			want: storage.ErrFormat, hint: "restore the backup",
		},
		{name: "zero", files: map[string]string{"FORMAT": "0\n"}, want: storage.ErrFormat, hint: "restore the backup"},
		{name: "void", files: map[string]string{"FORMAT": ""}, want: storage.ErrFormat, hint: "restore the backup"},
		{
			name: "data without FORMAT", files: map[string]string{"store/": ""},
			want: storage.ErrFormat, hint: "choose an empty directory",
		},
		{
			name: "somebody's directory", files: map[string]string{"thesis.txt": "x"},
			want: storage.ErrFormat, hint: "choose an empty directory",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			for name, text := range c.files {
				path := filepath.Join(dir, name)
				if strings.HasSuffix(name, "/") {
					mustMkdir(t, path)
					continue
				}
				mustMkdir(t, dir)
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			s, err := pebble.Open(dir, pebble.Options{})
			if c.want != nil {
				if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.hint) || !strings.Contains(err.Error(), dir) {
					t.Fatalf("error %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if text, err := os.ReadFile(filepath.Join(dir, "FORMAT")); err != nil || strings.TrimSpace(string(text)) != "1" {
				t.Errorf("FORMAT is %q, %v", text, err)
			}
			open(t, dir, pebble.Options{})
		})
	}
}

func mustMkdir(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
}

// TestFormatIsDurable: a power loss right after the first open leaves a directory
// that opens.
func TestFormatIsDurable(t *testing.T) {
	fs := vfs.NewCrashableMem()
	open(t, "data", pebble.Options{FS: fs})
	crashed := fs.CrashClone(vfs.CrashCloneCfg{})
	if _, err := crashed.Stat("data/FORMAT"); err != nil {
		t.Errorf("FORMAT is gone: %v", err)
	}
	open(t, "data", pebble.Options{FS: crashed})
}

// crowdedFS has another process open the data directory just when FORMAT is put
// into place.
type crowdedFS struct {
	vfs.FS
	other func()
}

func (c *crowdedFS) Rename(from, to string) error {
	if other := c.other; other != nil {
		c.other = nil
		other()
	}
	return c.FS.Rename(from, to)
}

// TestFormatOfTwo: two processes that begin at once on a new directory write FORMAT
// both, and neither fails for it.
func TestFormatOfTwo(t *testing.T) {
	fs := &crowdedFS{FS: vfs.NewMem()}
	fs.other = func() {
		s, err := pebble.Open("data", pebble.Options{FS: fs.FS})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	open(t, "data", pebble.Options{FS: fs})
	if fs.other != nil {
		t.Error("FORMAT was not renamed into place")
	}
}

func TestInUse(t *testing.T) {
	dir := t.TempDir()
	open(t, dir, pebble.Options{})
	if _, err := pebble.Open(dir, pebble.Options{}); !errors.Is(err, storage.ErrInUse) {
		t.Errorf("second open: %v", err)
	}
}

// TestBrokenDatabase: a database whose manifest is broken
// is refused with an error and not a panic.
func TestBrokenDatabase(t *testing.T) {
	dir := t.TempDir()
	s, err := pebble.Open(dir, pebble.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	manifests, err := filepath.Glob(filepath.Join(dir, "store", "MANIFEST-*"))
	if err != nil || len(manifests) == 0 {
		t.Fatal(manifests, err)
	}
	for _, m := range manifests {
		if err := os.WriteFile(m, []byte("broken beyond repair, and long enough to be read"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := pebble.Open(dir, pebble.Options{}); err == nil {
		t.Error("a broken manifest was accepted")
	}
}
