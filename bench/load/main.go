// Command load runs one load against one server and prints what it measured.
//
//	go run ./bench/load                                  1,000 users in pairs: saturated, then paced at 2,000/s
//	go run ./bench/load -mode group -users 500           one group: deliveries/s, time until the last has it
//	go run ./bench/load -mode offline|drain|waiting      into inboxes of absent devices, out of them, their memory
//	go run ./bench/load -mode reconnect|idle             connects at once, memory of a silent connection
//	go run ./bench/load -mode chats -chats 5000          a device with many chats comes back
//	go run ./bench/load -mode stored|crash               kill -9: with many stored messages, under full load
//	go run ./bench/load -mode flat|overload              for a long time, and with more than the server can do
//	go run ./bench/load -target mosquitto                the same load on another broker
//
// Without -addr it starts the server in a temporary directory. With -addr it uses one that runs, which needs -http and
// -data, too, to read its metrics and to make logins.
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
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var (
		cfg  scenario.Config
		opts target.Options
		args string
	)
	name := flag.String("target", "tidings", "`server`: tidings, mosquitto or mochi")
	mode := flag.String("mode", "chat", "load: "+strings.Join(scenario.Modes(), ", "))
	out := flag.String("out", "", "write the result as JSON to this `file`, too (default bench/out/MODE-TARGET.json)")
	flag.StringVar(&opts.MQTT, "addr", "", "MQTT `address` of a running server instead of starting one")
	flag.StringVar(&opts.HTTP, "http", "", "HTTP `address` of that server")
	flag.StringVar(&opts.Data, "data", "", "data `directory` of that server")
	flag.IntVar(&opts.PID, "pid", 0, "process `id` of that server, to measure its CPU and memory")
	flag.StringVar(&opts.Bin, "bin", "", "server `binary` (default: built from the tree)")
	flag.StringVar(&args, "server-args", "", "further arguments of serve, split at blanks")
	flag.StringVar(&opts.Profile, "profile", "", "write a CPU profile of the server's last measured phase to this `file`, for go tool pprof")
	scenario.Flags(flag.CommandLine, &cfg)
	flag.Parse()
	if flag.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flag.Arg(0))
	}
	opts.Args = strings.Fields(args)
	if opts.Profile != "" {
		dir, err := os.MkdirTemp("", "bench-profile-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		if opts.MQTT != "" || opts.Bin != "" {
			return errors.New("-profile builds and starts a server of its own: leave -addr and -bin out")
		}
		if opts.Bin, err = target.BuildProfiled(ctx, dir); err != nil {
			return err
		}
	}
	result, err := target.Use(ctx, *name, opts, func(t target.Target) (*scenario.Result, error) {
		return scenario.Run(ctx, t, *mode, cfg, note)
	})
	if err != nil {
		return err
	}
	if err := report.Print(os.Stdout, result); err != nil {
		return err
	}
	if *out == "" {
		*out = fmt.Sprintf("bench/out/%s-%s.json", *mode, *name)
	}
	return report.Write(*out, []*scenario.Result{result})
}

func note(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
