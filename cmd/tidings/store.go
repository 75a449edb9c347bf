package main

import (
	"context"

	"github.com/spf13/cobra"
)

func newStore(c *command) *cobra.Command {
	return family("store", "Maintain the store",
		c.storeVerb("sweep", "Apply retention now instead of within a minute", "retention applied", "retention.sweep"),
		c.storeVerb("compact", "Apply retention, then rewrite the store so that what it removed is gone from disk", "store compacted",
			"retention.sweep", "store.compact"),
	)
}

func (c *command) storeVerb(verb, short, done string, operations ...string) *cobra.Command {
	cmd := &cobra.Command{
		Use: verb, Short: short, Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.operate(cmd, false, func(ctx context.Context, o *operator) error {
				for _, operation := range operations {
					if err := o.call(ctx, operation, struct{}{}, nil); err != nil {
						return err
					}
				}
				return c.print(map[string]string{"done": verb}, func(t *table) { t.row(done) })
			})
		},
	}
	c.outputFlag(cmd)
	c.dataFlag(cmd)
	return cmd
}
