package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"tidings/api"
)

// source says where the names of a list come from: lines of standard input, or a
// count and a prefix.
type source struct {
	count  int
	prefix string
}

// flags registers the flags of a command that can be about a list.
func (s *source) flags(cmd *cobra.Command, count string) {
	cmd.Flags().IntVar(&s.count, "count", 0, count)
	cmd.Flags().StringVar(&s.prefix, "prefix", "", "beginning of the names of --count")
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

// addMany makes what a list names, as many at once as one operation takes. It prints
// a line for each, and fails in the end if some were refused.
func addMany[P, R any](c *command, cmd *cobra.Command, list []P, add func(context.Context, *operator, []P) ([]R, error), refused func(*R) bool) error {
	return c.operate(cmd, true, func(ctx context.Context, o *operator) error {
		failed := 0
		for part := range slices.Chunk(list, api.MaxBatch) {
			made, err := add(ctx, o, part)
			if err != nil {
				return err
			}
			for i := range made {
				if refused(&made[i]) {
					failed++
				}
				if err := c.jsonLine(made[i]); err != nil {
					return err
				}
			}
		}
		if failed > 0 {
			return errSome{failed, len(list)}
		}
		return nil
	})
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
