// Command performance measures everything that docs/performance.md says, and writes that file, its pictures and the raw data
// beside it.
//
//	go run ./bench/performance                       everything; see plan for how long each step takes
//	go run ./bench/performance -quick                the same with small sizes, to see that it works
//	go run ./bench/performance -render               writes the document again from the data that is there
//	go run ./bench/performance -only 'chat|paced'    only some steps: the document says which are missing
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"time"
)

// options are the command line.
type options struct {
	quick, render, tenMillion bool
	rounds                    int
	flat                      time.Duration
	doc, dir, only            string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "performance:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var o options
	flag.BoolVar(&o.quick, "quick", false, "small sizes and one round, to try it out")
	flag.BoolVar(&o.render, "render", false, "measure nothing, write the document from the data that is there")
	flag.BoolVar(&o.tenMillion, "ten-million", false, "measure with 10,000,000 stored messages, too (needs 5 GB of disk)")
	flag.IntVar(&o.rounds, "rounds", 3, "runs of each load on each server; latencies get at least 5")
	flag.DurationVar(&o.flat, "flat", 10*time.Minute, "length of the flat load")
	flag.StringVar(&o.only, "only", "", "steps whose name matches this `expression`")
	flag.StringVar(&o.doc, "doc", "docs/performance.md", "`file` of the document")
	flag.StringVar(&o.dir, "dir", "docs/performance", "`directory` of pictures and data.json")
	flag.Parse()
	if flag.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flag.Arg(0))
	}
	if o.render {
		d, err := readData(o.dir)
		if err != nil {
			return err
		}
		return d.write(o.doc, o.dir)
	}
	only, err := regexp.Compile(o.only)
	if err != nil {
		return err
	}
	d, err := measure(ctx, &o, plan(&o), only)
	if err != nil {
		return err
	}
	if err := errors.Join(d.save(o.dir), d.write(o.doc, o.dir)); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "%s and %s are written; %d steps failed\n", o.doc, o.dir, len(d.failures()))
	return nil
}
