package main

import (
	"github.com/spf13/cobra"

	"tidings/config"
)

func newDemo(c *command) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run a server with a few users in it, to try things out",
		Args:  exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := c.load(cmd)
			if err != nil {
				return err
			}
			if len(cfg.OpenTopics) == 0 {
				cfg.OpenTopics = []string{demoOpen}
			}
			return c.serve(cmd.Context(), &cfg, c.seed)
		},
	}
	config.RegisterFlags(cmd.Flags())
	c.configFlag(cmd)
	return cmd
}
