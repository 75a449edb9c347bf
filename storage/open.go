package storage

import "context"

// OpenTopics keeps the retained messages of open topics. They are set and removed
// by Append, in the same step as the queue entries that go with them.
type OpenTopics interface {
	// ListRetained returns up to limit retained messages in ascending order of the
	// topic's bytes, from the first above after ("" for all). It may show what
	// an Append under way has not made durable yet.
	ListRetained(ctx context.Context, after string, limit int) ([]Retained, error)
}

// Retained is the retained message of one open topic. In a Batch an empty Body
// removes what the topic has, which need not be anything.
type Retained struct {
	Topic string // 1 to 65,535 bytes
	Body  []byte // opaque here; to about 1 MiB
}
