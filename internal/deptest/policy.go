package deptest

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Policy says who may import whom. Parse makes one; it does not change afterwards.
type Policy struct {
	module string
	// rules stand in the order of the table; the first one whose name matches a package is its rule.
	rules []rule
	// guards hold for imports from outside of the module.
	guards []guard
}

// rule is a line "NAME: PACKAGE …" of the table.
type rule struct {
	name   string
	allows []string
	free   bool
}

// guard is a line "only NAME …: IMPORT …" of the table.
type guard struct {
	imports []string
	allowed []string
	reason  string
}

// Parse reads a table for the module. An empty line and a line that begins with # say nothing; the others are
//
//	NAME: PACKAGE …          packages NAME may import these packages of the module and no others
//	NAME: *                  packages NAME may import anything
//	only NAME …: IMPORT …    from outside, only packages NAME may import these, and what lies below them
//
// where NAME and PACKAGE are directories below the module's root, and a last element * stands for every
// directory below. The comment right above an "only" line is the reason that a violation is told with.
// A package follows the first line that matches it, so the exception stands above the general case.
func Parse(module, table string) (*Policy, error) {
	p := &Policy{module: module}
	var errs []error
	var comment []string
	for i, line := range strings.Split(table, "\n") {
		line = strings.TrimSpace(line)
		if text, ok := strings.CutPrefix(line, "#"); ok {
			comment = append(comment, strings.TrimSpace(text))
			continue
		}
		if line != "" {
			if err := p.parseLine(line, strings.Join(comment, " ")); err != nil {
				errs = append(errs, fmt.Errorf("line %d of the table: %w", i+1, err))
			}
		}
		comment = nil
	}
	return p, errors.Join(errs...)
}

func (p *Policy) parseLine(line, comment string) error {
	left, right, ok := strings.Cut(line, ":")
	names, items := strings.Fields(left), strings.Fields(right)
	switch {
	case !ok || len(names) == 0:
		return fmt.Errorf("want NAME: PACKAGE …, have %q", line)
	case names[0] == "only":
		if len(items) == 0 || comment == "" {
			return fmt.Errorf("%q needs an import and a reason in the comment above it", line)
		}
		p.guards = append(p.guards, guard{imports: items, allowed: names[1:], reason: comment})
	case len(names) > 1:
		return fmt.Errorf("one package a line, have %q", left)
	case slices.ContainsFunc(p.rules, func(r rule) bool { return r.name == names[0] }):
		return fmt.Errorf("%s stands twice", names[0])
	default:
		p.rules = append(p.rules, rule{name: names[0], allows: items, free: slices.Equal(items, []string{"*"})})
	}
	return nil
}

// Check returns one line for each violation, in the order of pkgs, and none if all is well. Test files are not
// looked at: a test may import what it needs to drive its package.
func (p *Policy) Check(pkgs []Package) []string {
	var found []string
	for _, pkg := range pkgs {
		if pkg.TestOnly {
			continue
		}
		r, ok := p.ruleFor(pkg.Dir)
		if !ok {
			found = append(found, fmt.Sprintf(
				"package %s has no rule: add a line %q with the packages that it may import", pkg.Dir, pkg.Dir+": …"))
			continue
		}
		for _, imp := range pkg.Imports {
			if complaint := p.checkImport(pkg.Dir, r, imp.Path); complaint != "" {
				found = append(found, imp.Pos+": "+complaint)
			}
		}
	}
	return found
}

// checkImport returns why the package in dir may not import importPath, or "".
func (p *Policy) checkImport(dir string, r rule, importPath string) string {
	if own, ok := strings.CutPrefix(importPath, p.module+"/"); ok {
		if r.free || matchAny(r.allows, own) {
			return ""
		}
		return fmt.Sprintf("%s may not import %s (rule %q)", dir, own, r)
	}
	for _, g := range p.guards {
		if g.covers(importPath) && !matchAny(g.allowed, dir) {
			return fmt.Sprintf("%s may not import %s: %s", dir, importPath, g.reason)
		}
	}
	return ""
}

func (p *Policy) ruleFor(dir string) (rule, bool) {
	i := slices.IndexFunc(p.rules, func(r rule) bool { return match(r.name, dir) })
	if i < 0 {
		return rule{}, false
	}
	return p.rules[i], true
}

// String returns the rule as it stands in the table.
func (r rule) String() string { return r.name + ": " + strings.Join(r.allows, " ") }

// covers tells whether the import is one of the guarded ones or lies below one.
func (g guard) covers(importPath string) bool {
	return slices.ContainsFunc(g.imports, func(guarded string) bool {
		return importPath == guarded || strings.HasPrefix(importPath, guarded+"/")
	})
}

func matchAny(patterns []string, dir string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return match(pattern, dir) })
}

// match tells whether dir is the directory that the pattern names, or lies below it where the pattern ends
// in "/*".
func match(pattern, dir string) bool {
	if parent, base := path.Split(pattern); base == "*" && parent != "" {
		return strings.HasPrefix(dir, parent)
	}
	return pattern == dir
}
