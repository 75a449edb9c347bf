package api

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"

	"tidings/chat"
	"tidings/delivery"
	"tidings/hooks"
	"tidings/storage"
)

// CodeUnknownOperation refuses what no table has.
const CodeUnknownOperation = "unknown_operation"

// Config is what the operations need. It does not change afterwards.
type Config struct {
	Engine *delivery.Engine // required
	Log    *slog.Logger     // nil: discards

	// Hash returns what to store of a new password. An error that Is
	// BadPassword says what is wrong with the password, in words for people.
	Hash        func(ctx context.Context, password []byte) (chat.Credentials, error)
	BadPassword error

	// NewToken makes a device token and the hash to store of it. Operators only.
	NewToken func() (text string, hash []byte)

	// Compact removes from disk what was trimmed before. Operators only; nil: the
	// store has no need of it.
	Compact func(ctx context.Context) error
}

// Table is a set of operations, ready to be called. It does not change after it
// was made, and is safe for concurrent use.
type Table struct {
	log         *slog.Logger
	badPassword error
	ops         []Operation
	byName      map[string]*Operation
}

func newTable(c *Config, ops ...Operation) *Table {
	t := &Table{log: c.Log, badPassword: c.BadPassword, ops: ops, byName: make(map[string]*Operation, len(ops))}
	if t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	slices.SortFunc(t.ops, func(a, b Operation) int { return strings.Compare(a.Name, b.Name) })
	for i := range t.ops {
		t.byName[t.ops[i].Name] = &t.ops[i]
	}
	return t
}

// Operations returns the operations in order of name. The slice is the caller's.
func (t *Table) Operations() []Operation { return slices.Clone(t.ops) }

// Fresh tells whether an operation only reads, so that asking again is answered
// anew. An unknown one changes nothing, either.
func (t *Table) Fresh(operation string) bool {
	op := t.byName[operation]
	return op == nil || op.Reads
}

// Call runs one operation for somebody and returns its result, a JSON object, or
// a refusal. params is the JSON object of the parameters; empty means {}. It may
// block as long as ctx allows.
func (t *Table) Call(ctx context.Context, who delivery.Identity, operation string, params []byte) ([]byte, *delivery.Refusal) {
	op := t.byName[operation]
	if op == nil {
		return nil, &delivery.Refusal{Code: CodeUnknownOperation, Message: "there is no operation of that name"}
	}
	out, err := op.run(ctx, who, params)
	if err != nil {
		return nil, t.refusal(operation, err)
	}
	return out, nil
}

// refusal turns an error into what the caller is told.
func (t *Table) refusal(operation string, err error) *delivery.Refusal {
	if r, ok := errors.AsType[*delivery.Refusal](err); ok {
		return r
	}
	if r, ok := errors.AsType[*hooks.Refusal](err); ok {
		return &delivery.Refusal{Code: r.Code, Message: r.Message}
	}
	if e, ok := errors.AsType[*chat.DraftError](err); ok {
		return &delivery.Refusal{Code: e.Code, Message: e.Error()}
	}
	switch {
	case t.badPassword != nil && errors.Is(err, t.badPassword):
		return malformed(err.Error())
	case errors.Is(err, storage.ErrFull):
		return &delivery.Refusal{Code: delivery.CodeStorageFull, Message: "the server has no space left", Temporary: true}
	case errors.Is(err, storage.ErrReadOnly), errors.Is(err, storage.ErrUnavailable),
		errors.Is(err, hooks.ErrUnavailable), errors.Is(err, hooks.ErrBusy),
		errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		t.log.Warn("operation not possible now", "operation", operation, "error", err)
		return &delivery.Refusal{Code: delivery.CodeUnavailable, Message: "the server cannot do this now; try again later", Temporary: true}
	}
	t.log.Error("operation failed", "operation", operation, "error", err)
	return &delivery.Refusal{Code: delivery.CodeInternal, Message: "the server failed to do this; it has been logged", Temporary: true}
}

func malformed(message string) *delivery.Refusal {
	return &delivery.Refusal{Code: delivery.CodeMalformed, Message: message}
}
