package pebble

import (
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
)

// Values of at least this many bytes are kept outside the tree, so that
// compactions do not copy them again and again.
const separateBytes = 128

// stopWrites is how many memtables there may be before writers wait for a flush.
const stopWrites = 3

// pebbleOptions is Pebble's configuration. What is set was measured to matter for
// a stream of small messages: no compression, values apart.
func (s *Store) pebbleOptions(o Options) *pebble.Options {
	p := &pebble.Options{
		FS:                          s.fence,
		Lock:                        s.lock,
		FormatMajorVersion:          pebble.FormatValueSeparation,
		Merger:                      maximum,
		CacheSize:                   o.Cache + stopWrites*int64(o.MemTable), // Pebble counts memtables against it
		MemTableSize:                uint64(o.MemTable),
		MemTableStopWritesThreshold: stopWrites,
		L0CompactionThreshold:       2,
		L0StopWritesThreshold:       1000,
		LBaseMaxBytes:               64 << 20,
		CompactionConcurrencyRange:  func() (int, int) { return 1, 2 },
		Logger:                      &logger{log: s.log},
		EventListener:               &pebble.EventListener{},
	}
	for i := range p.Levels {
		p.Levels[i] = pebble.LevelOptions{
			BlockSize:      32 << 10,
			IndexBlockSize: 256 << 10,
			FilterPolicy:   bloom.FilterPolicy(10),
			FilterType:     pebble.TableFilter,
			Compression:    func() *sstable.CompressionProfile { return sstable.NoCompression },
		}
	}
	p.TargetFileSizes[0] = 8 << 20
	p.Experimental.ValueSeparationPolicy = s.separation
	var quiet quietly
	p.EventListener.BackgroundError = func(err error) {
		if quiet.due() {
			s.log.Warn("flush or compaction failed and will be repeated", "error", err)
		}
	}
	p.EventListener.DataCorruption = func(info pebble.DataCorruptionInfo) {
		s.log.Error("storage found a corrupt file", "path", info.Path, "error", info.Details)
	}
	return p
}

// separation is asked by each compaction. While Compact runs, values are copied
// to new files instead of being referred to in old ones, and files with any
// garbage are rewritten: only so does removed content leave the disk.
func (s *Store) separation() pebble.ValueSeparationPolicy {
	p := pebble.ValueSeparationPolicy{
		Enabled:               true,
		MinimumSize:           separateBytes,
		MaxBlobReferenceDepth: 10,
		TargetGarbageRatio:    0.2,
	}
	if s.rewriting.Load() > 0 {
		p.MaxBlobReferenceDepth = 0
		p.TargetGarbageRatio = 0
	}
	return p
}

// quietly lets one of many equal complaints through every ten seconds.
type quietly struct{ last atomic.Int64 }

func (q *quietly) due() bool {
	now, last := time.Now().UnixNano(), q.last.Load()
	return now-last > int64(10*time.Second) && q.last.CompareAndSwap(last, now)
}

// logger hands Pebble's words on. Its information is for Pebble's authors.
type logger struct{ log *slog.Logger }

func (l *logger) Infof(string, ...any) {}

func (l *logger) Errorf(format string, args ...any) {
	l.log.Warn("storage engine", "error", fmt.Sprintf(format, args...))
}

// Fatalf must not return: Pebble's state is unknown then. The fence keeps I/O
// errors away from it, so only broken invariants of Pebble itself arrive.
func (l *logger) Fatalf(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	l.log.Error("storage engine gave up", "error", text)
	panic("storage engine: " + text)
}
