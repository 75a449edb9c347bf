package pebble_test

import (
	"log/slog"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tidings/storage"
	"tidings/storage/pebble"
	"tidings/storage/storagetest"
)

// opener keeps a data set in a file system in memory that can lose power.
type opener struct {
	t  *testing.T
	fs *vfs.MemFS
}

func newOpener(t *testing.T) *opener { return &opener{t, vfs.NewCrashableMem()} }

func (o *opener) Open() (storage.Store, error) {
	return pebble.Open("data", pebble.Options{
		FS: o.fs, MemTable: 256 << 10, Cache: 1 << 20, Heads: 4, // few, so that heads are evicted
		Logger: slog.New(slog.NewTextHandler(o.t.Output(), nil)),
	})
}

func (o *opener) Crash(s storage.Store) error {
	o.fs = o.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 30, RNG: rand.New(rand.NewPCG(1, 2))})
	return s.Close()
}

func TestContract(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) storagetest.Opener { return newOpener(t) })
}
