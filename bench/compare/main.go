// Command compare runs the same loads against several servers in turn, round after round, and prints medians and ratios.
// Interleaving the rounds keeps what else the machine does from favouring one of them.
//
//	go run ./bench/compare -targets tidings,mosquitto,mochi -modes chat,group -rounds 3
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"tidings/bench/report"
	"tidings/bench/scenario"
	"tidings/bench/target"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var cfg scenario.Config
	var opts target.Options
	names := flag.String("targets", "tidings,mosquitto,mochi", "servers, split at commas; ratios are to the first")
	modes := flag.String("modes", "chat", "loads, split at commas: "+strings.Join(scenario.Modes(), ", "))
	rounds := flag.Int("rounds", 3, "runs of each load on each server")
	out := flag.String("out", "bench/out/compare.json", "write all results as JSON to this `file`")
	flag.StringVar(&opts.Bin, "bin", "", "tidings `binary` (default: built from the tree)")
	scenario.Flags(flag.CommandLine, &cfg)
	flag.Parse()
	targets := strings.Split(*names, ",")
	var results []*scenario.Result
	for round := range *rounds {
		for mode := range strings.SplitSeq(*modes, ",") {
			for _, name := range targets {
				fmt.Fprintf(os.Stderr, "round %d: %s on %s\n", round+1, mode, name)
				r, err := target.Use(ctx, name, opts, func(t target.Target) (*scenario.Result, error) {
					return scenario.Run(ctx, t, mode, cfg, func(string, ...any) {})
				})
				if errors.Is(err, errors.ErrUnsupported) {
					fmt.Fprintln(os.Stderr, "  left out:", err)
					continue
				}
				if err != nil {
					// One server that fails a load is a finding, not the end of the comparison.
					fmt.Fprintln(os.Stderr, "  failed:", err)
					if ctx.Err() != nil {
						return ctx.Err()
					}
					continue
				}
				results = append(results, r)
			}
		}
	}
	if err := report.Compare(os.Stdout, targets, results); err != nil {
		return err
	}
	return report.Write(*out, results)
}
