package config

import (
	"strings"

	"github.com/spf13/pflag"
)

// loader collects settings and problems from one source after the other.
type loader struct {
	config   Config
	from     map[string]string   // key → place that has set it last
	items    map[string][]string // key of a list → places of its items, where they have their own
	problems []*Problem
}

// Load reads the settings: the file (none if the name is empty), then the
// environment in the form of os.Environ, then the flags that RegisterFlags has put
// on the set and that were given (nil: none). What is not set has its default. The
// error joins a *Problem for everything that is wrong, and the Config is usable
// only without one.
func Load(file string, env []string, flags *pflag.FlagSet) (Config, error) {
	l := &loader{config: Default(), from: make(map[string]string), items: make(map[string][]string)}
	l.config.Node, l.config.Limits.Packet = "", 0 // what they stand for comes last
	if file != "" {
		l.readFile(file)
	}
	l.readEnv(env)
	l.readFlags(flags)
	l.config.resolve()

	bad := make(map[string]bool) // unreadable values, whose field still has another value
	for _, p := range l.problems {
		bad[p.Key] = true
	}
	for _, p := range l.config.problems() {
		if !bad[p.Key] {
			p.Where = l.place(p)
			l.problems = append(l.problems, p)
		}
	}
	return l.config, join(l.problems)
}

// set sets one field from its text form.
func (l *loader) set(f *field, where, text string) {
	if err := setText(f.of(&l.config), text); err != nil {
		l.problem(where, f.key, err.Error())
		return
	}
	l.from[f.key] = where
	delete(l.items, f.key)
}

// place returns where the value stands that a problem is about.
func (l *loader) place(p *Problem) string {
	if items := l.items[p.Key]; p.item > 0 && p.item <= len(items) {
		return items[p.item-1]
	}
	return l.from[p.Key]
}

func (l *loader) problem(where, key, text string) {
	l.problems = append(l.problems, &Problem{Where: where, Key: key, Text: text})
}

// readEnv sets what has a variable. An empty one counts as not set, since compose
// files and unit files make these easily.
func (l *loader) readEnv(env []string) {
	values := make(map[string]string)
	for _, kv := range env {
		if name, value, ok := strings.Cut(kv, "="); ok && value != "" {
			values[name] = value
		}
	}
	for i := range fields {
		name := fields[i].env()
		if value, ok := values[name]; ok {
			l.set(&fields[i], name, value)
		}
	}
}

// UnknownEnv returns the names of the variables that begin with TIDINGS_ and are
// no setting, each with the nearest one that is. They are worth a warning, and no
// error: a container platform makes such names of its own for a service that is
// called tidings. known are names that the caller uses itself.
func UnknownEnv(env []string, known ...string) map[string]string {
	names := make(map[string]bool)
	for _, name := range known {
		names[name] = true
	}
	candidates := make([]string, 0, len(fields))
	for _, f := range fields {
		names[f.env()] = true
		candidates = append(candidates, f.env())
	}
	unknown := make(map[string]string)
	for _, kv := range env {
		name, _, _ := strings.Cut(kv, "=")
		if strings.HasPrefix(name, envPrefix) && !names[name] {
			unknown[name] = nearest(name, candidates)
		}
	}
	return unknown
}
