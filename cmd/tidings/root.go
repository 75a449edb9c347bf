package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"tidings/config"
)

// command is what all verbs share.
type command struct {
	stdio
	env []string

	output string // text or json, see outputFlag
	file   string // of the configuration, see dataFlag
}

// variables that are read and are no settings.
var ownVariables = []string{"TIDINGS_CONFIG"}

func newRoot(c *command) *cobra.Command {
	root := &cobra.Command{
		Use:   "tidings",
		Short: "Durable chat over plain MQTT",
		Long: "Tidings is a messaging server whose protocol is plain MQTT.\n\n" +
			"Exit codes: 0 done; 1 refused or failed; 2 wrong command line or configuration;\n" +
			"3 data directory in use; 4 data directory of another version or damaged; 5 address taken.",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("there is no command %q; see %s --help", args[0], cmd.CommandPath())}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())}
	})
	root.AddCommand(newServe(c), newDemo(c), newUser(c), newDevice(c), newGroup(c), newStore(c), newVersion(c))
	return root
}

// family makes a command that only has commands below it.
func family(use, short string, below ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("there is no command %q; see %s --help", args[0], cmd.CommandPath())}
			}
			return usageError{fmt.Errorf("%s needs one of its commands; see %s --help", cmd.CommandPath(), cmd.CommandPath())}
		},
	}
	cmd.AddCommand(below...)
	return cmd
}

// exactly wants that many arguments.
func exactly(n int) cobra.PositionalArgs { return between(n, n) }

func between(low, high int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < low || len(args) > high {
			return usageError{fmt.Errorf("wrong number of arguments; usage: %s", cmd.UseLine())}
		}
		return nil
	}
}

// outputFlag gives a command that prints data the flag -o.
func (c *command) outputFlag(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&c.output, "output", "o", "text", "form of what is printed: text, or json (one object a line)")
}

func (c *command) checkOutput() error {
	if c.output != "text" && c.output != "json" {
		return usageError{fmt.Errorf("--output is text or json, not %q", c.output)}
	}
	return nil
}

// dataFlag gives a command the flag of the data directory and that of the
// configuration file, which may name it.
func (c *command) dataFlag(cmd *cobra.Command) {
	config.RegisterFlags(cmd.Flags(), "data")
	c.configFlag(cmd)
}

func (c *command) configFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.file, "config", "", "configuration file (YAML); also $TIDINGS_CONFIG")
}

// load reads the configuration: file, environment, flags.
func (c *command) load(cmd *cobra.Command) (config.Config, error) {
	file := c.file
	if file == "" {
		file = c.getenv("TIDINGS_CONFIG")
	}
	return config.Load(file, c.env, cmd.Flags())
}

func (c *command) getenv(name string) string {
	value := ""
	for _, kv := range c.env {
		if len(kv) > len(name) && kv[len(name)] == '=' && kv[:len(name)] == name {
			value = kv[len(name)+1:]
		}
	}
	return value
}

func newVersion(c *command) *cobra.Command {
	cmd := &cobra.Command{
		Use: "version", Short: "Print the version", Args: exactly(0),
		RunE: func(*cobra.Command, []string) error {
			v := versionInfo()
			return c.print(v, func(t *table) {
				t.row("tidings", v.Version)
				t.row("go", v.Go)
				t.row("platform", v.Platform)
			})
		},
	}
	c.outputFlag(cmd)
	return cmd
}

type versionBody struct {
	Version  string `json:"version"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func versionInfo() versionBody {
	return versionBody{version, runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
}
