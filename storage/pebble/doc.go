// Package pebble is the embedded store: the contract of package storage on one
// directory of the local disk, kept by a Pebble database.
//
// # Directory
//
//	DIR/FORMAT   the format number in decimal digits and a newline, now 1
//	DIR/store/   the Pebble database
//
// Anything else in DIR belongs to others and is left alone. The layout of keys
// and values is in keys.go. A new kind of row needs no new number: a version that
// does not know its letter leaves it alone.
//
// # Durability
//
// A method that promises durability returns after its write-ahead log record is
// synced. All writes go through one log, in order: a write that was not synced
// is made durable by any later one that is. Readers see of a chat's log only
// what is durable: while Append waits for the disk the chat's head stays where
// it was.
//
// # When the disk fails
//
// A write or sync that fails on the log or on Pebble's manifest cannot be
// repaired in place: after a failed fsync nobody knows what is on the disk. From
// that moment the store is read-only. The call that met the error reports
// storage.ErrUnavailable (its outcome is unknown), every later write
// storage.ErrReadOnly, reads go on, nothing on disk is removed any more, and
// Health tells. Only opening the directory again helps; whether and when is
// decided above. Failing flushes and compactions are harmless and repeated.
//
// # When the disk is slow
//
// Calls take as long as the disk does, and nothing else changes: those that wait
// together share one sync. While none of them ends for Options.StallAfter Health
// reports ErrStalled. The calls that wait are not given up: they succeed when the
// disk answers, or fail as above. Reads of what is in memory go on.
//
// # When the disk is full
//
// Running out of space inside the log would be such a failure, so the store
// stops before: below Options.Reserve bytes of free space every call that adds
// data is refused with storage.ErrFull, below a quarter of it also those that
// move cursors and sessions or only remove retained messages (Trim still works). Flushes and compactions pause
// below half of it. As soon as space returns the calls are accepted again.
package pebble
