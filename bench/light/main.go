// Command light is a few users with little to say, in a process of their own: what a load on the same server does to them
// shows without what it does to the load program. It reads its task from standard input and writes its findings to standard
// output, both as JSON; the scenario "overload" starts it.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"tidings/bench/scenario"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "light:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var task scenario.LightTask
	if err := json.NewDecoder(os.Stdin).Decode(&task); err != nil {
		return err
	}
	found, err := scenario.RunLight(ctx, task)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(found)
}
