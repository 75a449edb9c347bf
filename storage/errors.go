package storage

import "errors"

// Classes of errors. Implementations wrap them with what happened; callers match
// with errors.Is.
var (
	// ErrNotFound: the record that the call names does not exist.
	ErrNotFound = errors.New("not found")

	// ErrFull: no space is left; nothing of the call was stored. It may work again
	// later.
	ErrFull = errors.New("storage is full")

	// ErrReadOnly: the store takes no more writes (a sync has failed, or the disk
	// has become read-only); nothing of the call was stored. Only a restart helps.
	ErrReadOnly = errors.New("storage is read-only")

	// ErrUnavailable: the store cannot be reached; the outcome is unknown unless
	// the method says otherwise.
	ErrUnavailable = errors.New("storage is unavailable")

	// ErrCorrupt: a record does not decode. The error names it.
	ErrCorrupt = errors.New("corrupt record")

	// ErrFormat: the data directory or database has a format that this version
	// cannot open.
	ErrFormat = errors.New("unsupported storage format")

	// ErrInUse: another process has the data directory open.
	ErrInUse = errors.New("data directory is in use")
)
