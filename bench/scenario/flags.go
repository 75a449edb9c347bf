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
	fs.IntVar(&c.Window, "window", 0, "publishes in flight per sender (default by mode)")
	fs.IntVar(&c.Size, "size", 0, "`bytes` of a message's text (default 200)")
	fs.Float64Var(&c.Rate, "rate", 0, "messages/s of the paced phase (default by mode)")
	fs.IntVar(&c.Messages, "messages", 0, "messages in all, for offline, drain and waiting (default by mode)")
	fs.DurationVar(&c.Warmup, "warmup", 0, "time before the saturated phase counts (default 2s)")
	fs.DurationVar(&c.Duration, "duration", 0, "length of each measured phase (default 10s)")
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
