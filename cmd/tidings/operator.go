package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"tidings/api"
	"tidings/config"
	"tidings/delivery"
	"tidings/storage"
)

// operator runs operations on a data directory: in the server that has it open,
// or in this process.
type operator struct {
	remote *controlClient // nil: in this process
	parts  *parts         // nil: in a server
}

// openOperator finds out who has the data directory, and opens it if nobody has.
func openOperator(ctx context.Context, cfg *config.Config) (o *operator, err error) {
	err = whileInUse(ctx, func() (again bool, err error) {
		if c := dialControl(ctx, cfg.Data); c != nil {
			o = &operator{remote: c}
			return false, nil
		}
		p, err := openParts(cfg, slog.New(slog.DiscardHandler)) // the verb tells its errors
		if err != nil {
			return errors.Is(err, storage.ErrInUse), err
		}
		p.engine.Start()
		o = &operator{parts: p}
		return false, nil
	})
	return o, err
}

// call runs one operation. out may be nil.
func (o *operator) call(ctx context.Context, operation string, in, out any) error {
	params, err := json.Marshal(in)
	if err != nil {
		return err
	}
	var result []byte
	if o.remote != nil {
		result, err = o.remote.call(ctx, operation, params)
		if err != nil {
			return err
		}
	} else {
		var refusal *delivery.Refusal
		if result, refusal = o.parts.operators.Call(ctx, delivery.Identity{}, operation, params); refusal != nil {
			return refusalError{refusal.Code, refusal.Message}
		}
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(result, out)
}

func (o *operator) close() error {
	if o.remote != nil {
		o.remote.close()
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTime)
	defer cancel()
	return o.parts.close(ctx)
}

// refusalError is a refusal as the command line tells it.
type refusalError struct{ code, message string }

func (e refusalError) Error() string { return fmt.Sprintf("%s (%s)", e.message, e.code) }

// operate runs do with an operator of the data directory that the command names.
// create says that the directory may be a new one.
func (c *command) operate(cmd *cobra.Command, create bool, do func(ctx context.Context, o *operator) error) error {
	if err := c.checkOutput(); err != nil {
		return err
	}
	cfg, err := c.load(cmd)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(cfg.Data, "FORMAT")); errors.Is(err, fs.ErrNotExist) && !create {
		return fmt.Errorf("there is no data directory %s; name it with --data", cfg.Data)
	}
	o, err := openOperator(cmd.Context(), &cfg)
	if err != nil {
		return err
	}
	return errors.Join(do(cmd.Context(), o), o.close())
}

// eachPage calls list with after until there is no next page.
func eachPage(list func(after string) (next string, err error)) error {
	for after := ""; ; {
		next, err := list(after)
		if err != nil || next == "" {
			return err
		}
		after = next
	}
}

// pageOf are the parameters of one page of a list.
func pageOf(after string) api.Page { return api.Page{After: after, Limit: 1000} }
