package scenario

import (
	"errors"
	"flag"

	"tidings/internal/mqttest"
)

// Flags declares the flags that size a scenario; a flag that is not given leaves the scenario's own default.
func Flags(fs *flag.FlagSet, c *Config) {
	fs.IntVar(&c.Users, "users", 0, "connected users, group members or devices (default by mode)")
	fs.IntVar(&c.Senders, "senders", 0, "publishing users, where these are not all (default by mode)")
	fs.IntVar(&c.Window, "window", 0, "publishes in flight per sender, -1 for no saturated phase (default by mode)")
	fs.IntVar(&c.Size, "size", 0, "`bytes` of a message's text (default 200)")
	fs.Float64Var(&c.Rate, "rate", 0, "messages/s of the paced phase, -1 for none (default by mode)")
	fs.IntVar(&c.Messages, "messages", 0, "messages in all, for offline, drain, waiting and stored (default by mode)")
	fs.IntVar(&c.Chats, "chats", 0, "chats of each user, for chats (default 1000)")
	fs.IntVar(&c.Kills, "kills", 0, "times that crash kills the server (default 20)")
	fs.IntVar(&c.Light, "light", 0, "users with one message/s beside an overload (default 20)")
	fs.DurationVar(&c.Warmup, "warmup", 0, "time before a phase counts (default 2s, for flat 30s)")
	fs.DurationVar(&c.Duration, "duration", 0, "length of each measured phase (default 10s, for flat 10m, for crash 2s at most)")
	fs.BoolVar(&c.Web, "web", false, "connect by WebSocket")
	fs.Func("mqtt", "protocol `level`: 3.1.1 or 5 (default 5)", func(s string) error {
		return c.setVersion(s)
	})
	fs.BoolVar(&c.AllOwn, "all-own", false, "subscribe u/{me}/# (receipts, sent, …) and not only u/{me}")
}

func (c *Config) setVersion(s string) error {
	switch s {
	case "3.1.1", "4":
		c.Version = mqttest.V311
	case "5":
		c.Version = mqttest.V5
	default:
		return errors.New("want 3.1.1 or 5")
	}
	return nil
}
