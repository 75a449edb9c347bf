package main

import (
	"context"
	"strconv"

	"github.com/spf13/cobra"

	"tidings/api"
)

func newGroup(c *command) *cobra.Command {
	return family("group", "Look at groups", newGroupList(c), newGroupShow(c))
}

func newGroupList(c *command) *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "List groups", Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.operate(cmd, false, func(ctx context.Context, o *operator) error {
				var all []api.GroupSummary
				err := eachPage(func(after string) (string, error) {
					var out api.GroupList
					err := o.call(ctx, "group.list", pageOf(after), &out)
					all = append(all, out.Groups...)
					return out.Next, err
				})
				if err != nil {
					return err
				}
				return printList(c, all, []string{"GROUP", "CREATED", "TITLE"}, func(g api.GroupSummary) []string {
					return []string{g.Group, when(g.Created), shown(g.Title)}
				})
			})
		},
	}
	c.outputFlag(cmd)
	c.dataFlag(cmd)
	return cmd
}

func newGroupShow(c *command) *cobra.Command {
	cmd := &cobra.Command{
		Use: "show GROUP", Short: "Show a group's settings and members", Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.operate(cmd, false, func(ctx context.Context, o *operator) error {
				var g api.GroupInfo
				err := eachPage(func(after string) (string, error) {
					var page api.GroupInfo
					err := o.call(ctx, "group.show", map[string]any{"group": args[0], "after": after, "limit": 1000}, &page)
					page.Members = append(g.Members, page.Members...)
					g = page
					return page.Next, err
				})
				if err != nil {
					return err
				}
				g.Next = ""
				return c.print(g, func(t *table) { showGroup(t, &g) })
			})
		},
	}
	c.outputFlag(cmd)
	c.dataFlag(cmd)
	return cmd
}

func showGroup(t *table, g *api.GroupInfo) {
	retention := g.Retention
	if retention == "" {
		retention = "default of the server"
	}
	t.row("group", g.Group)
	t.row("title", shown(g.Title))
	t.row("made by", shown(g.Creator))
	t.row("created", when(g.Created))
	t.row("history for new members", yes(g.History))
	t.row("retention", retention)
	t.row("members", strconv.Itoa(g.Count))
	for _, m := range g.Members {
		t.row("  "+m.User, m.Role)
	}
}
