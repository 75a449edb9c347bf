package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// source says where the names of a list come from: lines of standard input, or a
// count and a prefix.
type source struct {
	count  int
	prefix string
}

// errSome is the error of a list of which some items were refused: each was told
// on its line.
type errSome struct{ failed, all int }

func (e errSome) Error() string {
	return fmt.Sprintf("%d of %d were refused; the lines with \"error\" say why", e.failed, e.all)
}

// many tells whether a command is about a list, and checks that it is clear which.
func (s *source) many(args []string) (bool, error) {
	counted := s.count != 0
	switch {
	case counted && len(args) > 0:
		return false, usageError{errors.New("either names or --count, not both")}
	case s.count < 0:
		return false, usageError{errors.New("--count is not negative")}
	case counted && s.prefix == "":
		return false, usageError{errors.New("--count needs --prefix")}
	case !counted && s.prefix != "":
		return false, usageError{errors.New("--prefix needs --count")}
	}
	return counted || len(args) == 1 && args[0] == "-", nil
}

// each calls use with the fields of each line, or with each made-up name.
func (s *source) each(in io.Reader, fields int, use func(fields []string) error) error {
	for i := range s.count {
		if err := use([]string{s.prefix + strconv.Itoa(i+1)}); err != nil {
			return err
		}
	}
	if s.count > 0 {
		return nil
	}
	lines := bufio.NewScanner(in)
	for n := 1; lines.Scan(); n++ {
		words := strings.Fields(lines.Text())
		switch {
		case len(words) == 0:
			continue
		case len(words) != fields:
			return usageError{fmt.Errorf("line %d of standard input has %d words instead of %d", n, len(words), fields)}
		}
		if err := use(words); err != nil {
			return err
		}
	}
	return lines.Err()
}

// password reads a password from standard input: all of it, without the end of
// the line.
func (c *command) password() (string, error) {
	b, err := io.ReadAll(io.LimitReader(c.in, 1<<16))
	if err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	text := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	if text == "" {
		return "", usageError{errors.New("there is no password on standard input")}
	}
	if strings.ContainsAny(text, "\r\n") {
		return "", usageError{errors.New("the password on standard input has more than one line")}
	}
	return text, nil
}
