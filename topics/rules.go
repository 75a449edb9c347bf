package topics

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Rules say who may do what in open topics. One rule is a line of four words:
//
//	allow|deny WHO publish|subscribe|all FILTER
//
//	allow alice publish open/home/+/set
//	deny * subscribe open/secret/#
//	allow @team all open/team/#
//	allow @team:admin publish open/cfg/%u/#
//
// WHO is a user, * for everyone, @GROUP for its members, or @GROUP:ROLE for those
// of them who are at least member, admin or owner. FILTER is a topic filter, in
// which %u stands for the user's name and %c for the client identifier; % before
// anything but a letter is itself. It may hold spaces, but not at its ends. A name or identifier that is empty or has one
// of "/", "+" and "#" fits nowhere: a rule that needs it does not match.
//
// The first rule that matches decides. What no rule matches is allowed, so a last
// rule "deny * all #" makes a list of what is allowed. The zero Rules allow
// everything. Rules do not change.
type Rules struct {
	rules []rule
}

type rule struct {
	allow  bool
	who    string // a user or a group, "" for everyone
	role   int    // the least role in group who; 0 where who is a user
	does   action
	filter string
}

type action uint8

const (
	publishes action = 1 << iota
	subscribes
)

var actions = map[string]action{"publish": publishes, "subscribe": subscribes, "all": publishes | subscribes}

// ranks are the roles of groups in ascending power; a name that is none has 0.
var ranks = map[string]int{"member": 1, "admin": 2, "owner": 3}

// ParseRules reads one rule from each line. The error joins a *LineError for each
// line that is none.
func ParseRules(lines []string) (Rules, error) {
	var r Rules
	var errs []error
	for i, line := range lines {
		one, text := parseRule(line)
		if text != "" {
			errs = append(errs, &LineError{i + 1, text})
		}
		r.rules = append(r.rules, one)
	}
	if errs != nil {
		return Rules{}, errors.Join(errs...)
	}
	return r, nil
}

// parseRule returns a rule, or what is wrong with the line.
func parseRule(line string) (r rule, problem string) {
	var words [3]string
	rest := line
	for i := range words {
		words[i], rest = cutWord(rest)
	}
	verb, who, does := words[0], words[1], words[2]
	r.allow, r.filter = verb == "allow", rest
	if !r.allow && verb != "deny" {
		return rule{}, fmt.Sprintf("a rule begins with allow or deny, not with %q", verb)
	}
	if problem = r.setWho(who); problem != "" {
		return rule{}, problem
	}
	if r.does = actions[does]; r.does == 0 {
		return rule{}, fmt.Sprintf("%q is none of publish, subscribe and all", does)
	}
	if problem = checkPattern(r.filter); problem != "" {
		return rule{}, problem
	}
	return r, ""
}

// setWho reads the second word of a rule.
func (r *rule) setWho(who string) (problem string) {
	if who == "*" {
		return ""
	}
	if group, ok := strings.CutPrefix(who, "@"); ok {
		group, role, named := strings.Cut(group, ":")
		if !named {
			role = "member"
		}
		r.who, r.role = group, ranks[role]
		if ValidName(group) && r.role == 0 {
			return fmt.Sprintf("%q in %s is none of the roles member, admin and owner", role, who)
		}
	} else {
		r.who = who
	}
	if !ValidName(r.who) {
		return fmt.Sprintf("%q is none of a user's name, *, @group and @group:role", who)
	}
	return ""
}

// checkPattern returns what is wrong with the filter of a rule, or "".
func checkPattern(pattern string) string {
	if pattern == "" {
		return "the rule has no topic filter; in YAML one that begins with # makes quotes necessary around the rule"
	}
	for rest := pattern; ; {
		_, after, found := strings.Cut(rest, "%")
		if !found {
			break
		}
		if after != "" && letter(after[0]) && after[0] != 'u' && after[0] != 'c' {
			return fmt.Sprintf("%%%c in %q is none of %%u, the user, and %%c, the client identifier", after[0], pattern)
		}
		rest = after
	}
	filter, ok := fill(pattern, "user", "client")
	if !ok {
		return fmt.Sprintf("%q is not a valid topic filter", pattern)
	}
	switch first, _ := cut(filter); first {
	case "u", "g", "rpc":
		return fmt.Sprintf("%q is about topics of the platform; rules are about open topics", pattern)
	case "$share":
		return fmt.Sprintf("%q: a rule about shared subscriptions is one about the filter that is shared", pattern)
	}
	return ""
}

// Groups returns the groups that rules mention, sorted, each once.
func (r Rules) Groups() []string {
	var groups []string
	for _, one := range r.rules {
		if one.role > 0 {
			groups = append(groups, one.who)
		}
	}
	slices.Sort(groups)
	return slices.Compact(groups)
}

// For returns what the rules say for one connection. role returns the user's role
// in a group, member, admin or owner, and anything else, such as "", for who is not
// in it; nil stands for nobody being in any. It is asked about Groups only, and
// not any more when For has returned: an Access holds until a role changes.
func (r Rules) For(user, client string, role func(group string) string) Access {
	var a Access
	for _, one := range r.rules {
		if !one.concerns(user, role) {
			continue
		}
		filter, ok := fill(one.filter, user, client)
		if !ok {
			continue
		}
		if one.does&publishes != 0 {
			a.publish = append(a.publish, verdict{one.allow, filter})
		}
		if one.does&subscribes != 0 {
			a.read = append(a.read, verdict{one.allow, filter})
		}
	}
	a.publish, a.read = trim(a.publish), trim(a.read)
	return a
}

func (r *rule) concerns(user string, role func(group string) string) bool {
	if r.role == 0 {
		return r.who == "" || r.who == user
	}
	return role != nil && ranks[role(r.who)] >= r.role
}

// fill returns the filter that a pattern is for one user and client. ok is false
// if there is none: what is filled in must stay within its level, and must not
// make a filter about topics that begin with "$".
func fill(pattern, user, client string) (filter string, ok bool) {
	if strings.Contains(pattern, "%u") && !fits(user) || strings.Contains(pattern, "%c") && !fits(client) {
		return "", false
	}
	filter = strings.NewReplacer("%u", user, "%c", client).Replace(pattern)
	return filter, ValidFilter(filter) && (filter[0] == '$') == (pattern[0] == '$')
}

func letter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

func fits(s string) bool { return s != "" && !strings.ContainsAny(s, "/+#") }

// cutWord splits a line behind its first word.
func cutWord(line string) (word, rest string) {
	line = strings.TrimSpace(line)
	i := strings.IndexAny(line, " \t")
	if i < 0 {
		return line, ""
	}
	return line[:i], strings.TrimSpace(line[i:])
}
