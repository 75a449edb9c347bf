package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"tidings/topics"
)

// openProblems returns what is wrong with the settings of open topics.
func (c *Config) openProblems() []*Problem {
	_, err := topics.NewOpen(c.OpenTopics)
	ps := lineProblems("open_topics", "filter", err)
	_, err = topics.ParseRules(c.Access)
	ps = append(ps, lineProblems("access", "rule", err)...)

	addr := c.Conformance
	if addr == "" {
		return ps
	}
	text := checkLoopback(addr)
	if text == "" && !strings.HasSuffix(addr, ":0") {
		switch addr {
		case c.MQTT:
			text = "is the same address as mqtt"
		case c.HTTP:
			text = "is the same address as http"
		}
	}
	if text != "" {
		ps = append(ps, &Problem{Key: "conformance", Text: text})
	}
	return ps
}

// lineProblems makes problems of an error that joins *topics.LineError, about the
// items of a list that are called word.
func lineProblems(key, word string, err error) []*Problem {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return nil
	}
	var ps []*Problem
	for _, err := range joined.Unwrap() {
		p := &Problem{Key: key, Text: err.Error()}
		if line, ok := errors.AsType[*topics.LineError](err); ok {
			p.Text, p.item = fmt.Sprintf("%s %d: %s", word, line.Line, line.Text), line.Line
		}
		ps = append(ps, p)
	}
	return ps
}

// checkLoopback returns what is wrong with an address that only this machine may
// reach, or "".
func checkLoopback(addr string) string {
	if text := checkAddress(addr); text != "" {
		return text
	}
	host, _, err := net.SplitHostPort(addr)
	if err == nil && host == "localhost" {
		return ""
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsLoopback() {
		return ""
	}
	return fmt.Sprintf("%q can be reached from other machines, and this listener lets everybody in: its host must be 127.0.0.1, [::1] or localhost", addr)
}
