package broker

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"time"
)

// Config is how a Server behaves. It does not change after New. The zero value of
// each field means the default that its comment names.
type Config struct {
	// MaximumPacketSize is the largest packet that a client may send, in bytes, told
	// in CONNACK; 0: 640 KiB. It should be at least twice the engine's body limit, so
	// that a body that is too large is answered and not cut off.
	MaximumPacketSize int

	// ReceiveMaximum is how many publishes of one connection may be without an
	// acknowledgement, told in CONNACK; 0: 1024. MQTT 3.1.1 clients, which cannot be
	// told, are not read from while they are at the limit.
	ReceiveMaximum int

	// TopicAliasMaximum is how many topic aliases a client may use; 0: none, since
	// some clients use aliases unasked and fail with them.
	TopicAliasMaximum int

	// SharedSubscriptions tells that the engine has open topics, on which there are
	// shared subscriptions.
	SharedSubscriptions bool

	// ServerReference is where clients are sent while the server shuts down, as MQTT 5
	// has it in Server Reference: host names with or without ports, separated by
	// spaces. "": nowhere, they come back.
	ServerReference string

	// MaximumSessionExpiry bounds the session expiry interval; 0: no bound.
	MaximumSessionExpiry time.Duration

	// OutputLimit is how many bytes may wait for one client before the engine is told
	// that there is no room; 0: 256 KiB. One packet more fits always.
	OutputLimit int

	MaximumConnections     int // network connections in all; 0: 1,000,000
	MaximumUnauthenticated int // of these before their CONNACK; 0: 4096
	MaximumPerAddress      int // unauthenticated connections of one address; 0: 256

	ConnectTimeout time.Duration // until CONNECT is complete, TLS included; 0: 10 s
	RequestTimeout time.Duration // of one call into the engine (login, subscribe …); 0: 30 s
	WriteTimeout   time.Duration // without any progress of a write; 0: 10 s
	Linger         time.Duration // wait for the client to take the last bytes; 0: 2 s

	// MinimumKeepAlive and MaximumKeepAlive bound the keep alive of MQTT 5 clients,
	// told as Server Keep Alive; 0: 30 s and 1200 s. A keep alive of zero becomes the
	// maximum.
	MinimumKeepAlive, MaximumKeepAlive time.Duration

	Logins   int // logins at once; 0: 128
	Requests int // SUBSCRIBE and UNSUBSCRIBE at once; 0: 128
	Calls    int // rpc operations at once; 0: 64

	// Loops is the number of epoll loops, where there are any; 0: GOMAXPROCS, at most 2.
	Loops int

	// Portable makes plain TCP use a goroutine for each connection on Linux, too.
	Portable bool

	// Origins are the host patterns of web pages that may open WebSockets, beside
	// the server's own host; "*" allows all.
	Origins []string

	// Logger gets what operators should know; nil: nothing is logged.
	Logger *slog.Logger
}

// withDefaults fills what is zero.
func (c Config) withDefaults() Config {
	setDefault(&c.MaximumPacketSize, 640<<10)
	setDefault(&c.ReceiveMaximum, 1024)
	setDefault(&c.OutputLimit, 256<<10)
	setDefault(&c.MaximumConnections, 1_000_000)
	setDefault(&c.MaximumUnauthenticated, 4096)
	setDefault(&c.MaximumPerAddress, 256)
	setDefault(&c.ConnectTimeout, 10*time.Second)
	setDefault(&c.RequestTimeout, 30*time.Second)
	setDefault(&c.WriteTimeout, 10*time.Second)
	setDefault(&c.Linger, 2*time.Second)
	setDefault(&c.MinimumKeepAlive, 30*time.Second)
	setDefault(&c.MaximumKeepAlive, 1200*time.Second)
	setDefault(&c.Logins, 128)
	setDefault(&c.Requests, 128)
	setDefault(&c.Calls, 64)
	setDefault(&c.Loops, min(2, runtime.GOMAXPROCS(0)))
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func setDefault[T int | time.Duration](v *T, to T) {
	if *v == 0 {
		*v = to
	}
}

// validate names everything that is wrong with a config whose defaults are filled.
func (c *Config) validate() error {
	var errs []error
	check := func(ok bool, what string) {
		if !ok {
			errs = append(errs, errors.New(what))
		}
	}
	check(c.MaximumPacketSize >= 1024 && c.MaximumPacketSize <= maxRemaining, "maximum packet size must be between 1 KiB and 256 MiB")
	check(c.ReceiveMaximum > 0 && c.ReceiveMaximum <= 65535, "receive maximum must be between 1 and 65535")
	check(c.TopicAliasMaximum >= 0 && c.TopicAliasMaximum <= 65535, "topic alias maximum must be between 0 and 65535")
	check(len(c.ServerReference) <= 1024 && validText([]byte(c.ServerReference)), "server reference must be text of up to 1024 bytes")
	check(c.MinimumKeepAlive <= c.MaximumKeepAlive && c.MaximumKeepAlive <= 65535*time.Second, "keep alive bounds must be ordered and below 65536 s")
	for name, n := range map[string]int64{
		"output limit": int64(c.OutputLimit), "maximum connections": int64(c.MaximumConnections),
		"maximum unauthenticated": int64(c.MaximumUnauthenticated), "maximum per address": int64(c.MaximumPerAddress),
		"connect timeout": int64(c.ConnectTimeout), "request timeout": int64(c.RequestTimeout), "write timeout": int64(c.WriteTimeout),
		"linger": int64(c.Linger), "minimum keep alive": int64(c.MinimumKeepAlive), "maximum session expiry": int64(c.MaximumSessionExpiry) + 1,
		"logins": int64(c.Logins), "requests": int64(c.Requests), "calls": int64(c.Calls), "loops": int64(c.Loops),
	} {
		check(n > 0, name+" must not be negative")
	}
	if len(errs) > 0 {
		return fmt.Errorf("broker config: %w", errors.Join(errs...))
	}
	return nil
}
