package config

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Validate returns nil or an error that joins a *Problem for everything that is
// wrong.
func (c Config) Validate() error { return join(c.problems()) }

func (c *Config) problems() []*Problem {
	var ps []*Problem
	check := func(key string, ok bool, format string, args ...any) {
		if !ok {
			ps = append(ps, &Problem{Key: key, Text: fmt.Sprintf(format, args...)})
		}
	}
	for i := range fields {
		if text := fields[i].bounds(c); text != "" {
			check(fields[i].key, false, "%s", text)
		}
	}

	check("data", c.Data != "", "the directory has no name")
	mqtt, http := checkAddress(c.MQTT), checkAddress(c.HTTP)
	check("mqtt", mqtt == "", "%s", mqtt)
	check("http", http == "", "%s", http)
	check("http", http != "" || c.HTTP != c.MQTT || strings.HasSuffix(c.HTTP, ":0"), "is the same address as mqtt")
	check("node", validName(c.Node), "%q is not 1 to 64 of a-z 0-9 . _ -, the first a letter or digit", c.Node)
	check("retention", c.Retention.valid(), "%q is not forever, delivered, or a duration of 1s or more such as 30d", c.Retention)

	check("server_reference", len(c.ServerReference) <= 1024, "is longer than 1024 bytes")

	check("limits.packet", c.Limits.Packet >= 2*c.Limits.Body,
		"%v is less than twice limits.body, which is %v", c.Limits.Packet, c.Limits.Body)
	check("auth.argon2.memory", c.Auth.Argon2.Memory%KiB == 0, "%v is not whole KiB", c.Auth.Argon2.Memory)
	check("auth.argon2.memory", c.Auth.Argon2.Memory >= 8*KiB*Size(c.Auth.Argon2.Threads),
		"%v is less than 8KiB for each of auth.argon2.threads", c.Auth.Argon2.Memory)
	check("keepalive.max", c.KeepAlive.Max >= c.KeepAlive.Min, "%v is less than keepalive.min, which is %v", c.KeepAlive.Max, c.KeepAlive.Min)
	ps = append(ps, c.openProblems()...)
	check("ws.path", strings.HasPrefix(c.WS.Path, "/") && !strings.ContainsAny(c.WS.Path, " ?#{}"), "%q is not a path such as /mqtt", c.WS.Path)
	return ps
}

// bounds returns how the value breaks the tags min, max and oneof, or "".
func (f field) bounds(c *Config) string {
	v := f.of(c)
	if len(f.oneof) > 0 && !slices.Contains(f.oneof, v.String()) {
		return fmt.Sprintf("%q is not one of %s", v.String(), strings.Join(f.oneof, ", "))
	}
	low := f.min != "" && v.Int() < f.bound(f.min)
	high := f.max != "" && v.Int() > f.bound(f.max)
	switch {
	case (low || high) && f.min != "" && f.max != "":
		return fmt.Sprintf("%s is not between %s and %s", text(v), f.min, f.max)
	case low:
		return fmt.Sprintf("%s is less than %s", text(v), f.min)
	case high:
		return fmt.Sprintf("%s is more than %s", text(v), f.max)
	case v.CanInt() && v.Int() < 0:
		return "is negative"
	}
	return ""
}

// bound reads one of the tags min and max, in the type of the field.
func (f field) bound(tag string) int64 {
	var c Config
	v := f.of(&c)
	if err := setText(v, tag); err != nil {
		panic("config: bound of " + f.key + ": " + err.Error()) // checked by the tests
	}
	return v.Int()
}

// checkAddress returns what is wrong with an address to listen on, or "".
func checkAddress(addr string) string {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Sprintf("%q is not an address such as 127.0.0.1:1883 or :1883", addr)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Sprintf("%q has no port from 0 to 65535", addr)
	}
	return ""
}

func (r Retention) valid() bool {
	if r == "forever" || r == "delivered" {
		return true
	}
	d, err := ParseDuration(string(r))
	return err == nil && d >= 1e9
}

// validName tells whether a name is in the grammar of user names, which node
// names share.
func validName(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		if !letter && (i == 0 || c != '.' && c != '_' && c != '-') {
			return false
		}
	}
	return len(s) >= 1 && len(s) <= 64
}

// hostNode returns the default of node.
func hostNode() string {
	host, err := os.Hostname()
	if err != nil {
		host = ""
	}
	return nodeName(host)
}

// nodeName makes a valid node name of a host name.
func nodeName(host string) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '.', r == '_', r == '-':
			return r
		}
		return '-'
	}, strings.ToLower(host))
	name = strings.TrimLeft(name, "._-")
	if len(name) > 64 {
		name = name[:64]
	}
	if name == "" {
		return "node"
	}
	return name
}
