package target

import (
	"context"
	"time"
)

// Abilities that not every target has. A scenario that needs one asks for it by assertion.

// Survivor is a target that keeps its messages when its process is killed.
type Survivor interface {
	// Kill ends the process with SIGKILL.
	Kill() error
	// Restart starts it again on the same addresses and data, and returns how long it took from the start of the process
	// until it said that it is ready, and the CPU that it had used by then.
	Restart(ctx context.Context) (took, cpu time.Duration, err error)
	// DiskUse is the size of all files that it keeps, in bytes.
	DiskUse() (int64, error)
	// Readers makes one more device for each user, to read logs with.
	Readers(ctx context.Context, users []string) ([]Login, error)
	// Head is the number of messages in the log of a chat, as a device sees it. topic is where the user publishes to it.
	Head(ctx context.Context, as Login, topic string) (int64, error)
	// Log hands over every entry in the log of a chat, in any order.
	Log(ctx context.Context, as Login, topic string, each func(payload []byte)) error
}

// Measured is a target that tells its own figures.
type Measured interface {
	// Metrics are the sums of what /metrics tells, by name.
	Metrics(ctx context.Context) (map[string]float64, error)
}

// Web is a target that serves MQTT over WebSocket.
type Web interface {
	// WebAddr is the URL of the WebSocket.
	WebAddr() string
}
