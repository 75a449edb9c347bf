package pebble

import (
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Options are the settings of a Store. The zero value means the defaults; a
// negative size does, too, where nothing else is said.
type Options struct {
	// Cache is the size of the cache of blocks read from disk, in bytes.
	// Default 8 MiB.
	Cache int64

	// MemTable is the size of the buffer that collects writes before they are
	// flushed to a table, in bytes. Up to three are in memory under load; what
	// they leave of the three the cache may use, so that Cache + 3 MemTable bounds
	// both. Default 8 MiB; 64 MiB saves some ten percent of CPU time.
	MemTable int

	// Heads bounds how many chats' heads are remembered, at about 100 bytes each.
	// Default 65,536.
	Heads int

	// Reserve is the free space in bytes below which data is refused; see the
	// package comment. Default 64 MiB or, on a small file system, an eighth of it.
	// Negative: no reserve.
	Reserve int64

	// StallAfter is how long writes may wait without any that ends before Health
	// says so. Default 5 s: a sync that takes half a second is slow, and a few of
	// them in a row are, too, but they pass.
	StallAfter time.Duration

	// FS is the file system; nil means the operating system's.
	FS vfs.FS

	// Logger gets what operators should know. Nil means silence.
	Logger *slog.Logger
}

const (
	defaultCache    = 8 << 20
	defaultMemTable = 8 << 20
	defaultHeads    = 1 << 16
	defaultReserve  = 64 << 20
	defaultStall    = 5 * time.Second

	// smallDisk: the default reserve is at most this part of the file system.
	smallDisk = 8
)

// withDefaults returns o with every default filled in. Reserve stays zero where
// the size of the file system decides.
func (o Options) withDefaults() Options {
	if o.Cache <= 0 {
		o.Cache = defaultCache
	}
	if o.MemTable <= 0 {
		o.MemTable = defaultMemTable
	}
	if o.Heads <= 0 {
		o.Heads = defaultHeads
	}
	if o.StallAfter <= 0 {
		o.StallAfter = defaultStall
	}
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}
