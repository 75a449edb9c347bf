package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"tidings/api"
)

func newUser(c *command) *cobra.Command {
	return family("user", "Administer users",
		newUserAdd(c), newUserList(c), newUserPasswd(c),
		c.userVerb("disable", "Keep a user out; live sessions end at once", "disabled"),
		c.userVerb("enable", "Let a disabled user in again", "enabled"),
		c.userVerb("remove", "End an account for ever; its name stays reserved", "removed"),
	)
}

func newUserAdd(c *command) *cobra.Command {
	var from source
	var fromStdin bool
	var title string
	cmd := &cobra.Command{
		Use:   "add {NAME | - | --count N --prefix P}",
		Short: "Make users",
		Long: "Makes a user, or with - one for each line of standard input, or with --count the users P1 … PN.\n" +
			"Without a password a user can enter with device tokens only (see device add). For lists\n" +
			"one JSON object a line is printed.",
		Args: between(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			many, err := from.many(args)
			if err != nil {
				return err
			}
			switch {
			case many && (fromStdin || title != ""):
				return usageError{errors.New("--password-stdin and --title are for one user")}
			case many:
				return c.addUsers(cmd, &from)
			case len(args) == 0:
				return usageError{fmt.Errorf("which user? usage: %s", cmd.UseLine())}
			}
			u := api.AddUser{User: args[0], Name: title}
			if fromStdin {
				if u.Password, err = c.password(); err != nil {
					return err
				}
			}
			return c.addUser(cmd, u)
		},
	}
	cmd.Flags().BoolVar(&fromStdin, "password-stdin", false, "read the password from standard input")
	cmd.Flags().StringVar(&title, "title", "", "name for people")
	from.flags(cmd, "make this many users, named by --prefix and a number from 1")
	c.outputFlag(cmd)
	c.dataFlag(cmd)
	return cmd
}

func (c *command) addUser(cmd *cobra.Command, u api.AddUser) error {
	return c.operate(cmd, true, func(ctx context.Context, o *operator) error {
		var out api.AddedUsers
		if err := o.call(ctx, "user.add", api.AddUsers{Users: []api.AddUser{u}}, &out); err != nil {
			return err
		}
		if e := out.Users[0].Error; e != nil {
			return refusalError{e.Code, e.Message}
		}
		return c.print(out.Users[0], func(t *table) { t.row("user " + u.User + " added") })
	})
}

func (c *command) addUsers(cmd *cobra.Command, from *source) error {
	var list []api.AddUser
	err := from.each(c.in, 1, func(fields []string) error {
		list = append(list, api.AddUser{User: fields[0]})
		return nil
	})
	if err != nil {
		return err
	}
	return addMany(c, cmd, list, func(ctx context.Context, o *operator, part []api.AddUser) ([]api.AddedUser, error) {
		var out api.AddedUsers
		err := o.call(ctx, "user.add", api.AddUsers{Users: part}, &out)
		return out.Users, err
	}, func(u *api.AddedUser) bool { return u.Error != nil })
}

func newUserList(c *command) *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "List users", Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.operate(cmd, false, func(ctx context.Context, o *operator) error {
				var all []api.UserInfo
				err := eachPage(func(after string) (string, error) {
					var out api.UserList
					err := o.call(ctx, "user.list", pageOf(after), &out)
					all = append(all, out.Users...)
					return out.Next, err
				})
				if err != nil {
					return err
				}
				return printList(c, all, []string{"USER", "STATE", "PASSWORD", "CREATED", "NAME"}, func(u api.UserInfo) []string {
					return []string{u.User, u.State, yes(u.Password), when(u.Created), shown(u.Name)}
				})
			})
		},
	}
	c.outputFlag(cmd)
	c.dataFlag(cmd)
	return cmd
}

// userVerb makes a command that does one operation with one user.
func (c *command) userVerb(verb, short, done string) *cobra.Command {
	cmd := &cobra.Command{
		Use: verb + " NAME", Short: short, Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.operate(cmd, false, func(ctx context.Context, o *operator) error {
				params := map[string]string{"user": args[0]}
				if err := o.call(ctx, "user."+verb, params, nil); err != nil {
					return err
				}
				return c.print(params, func(t *table) { t.row("user " + args[0] + " " + done) })
			})
		},
	}
	c.outputFlag(cmd)
	c.dataFlag(cmd)
	return cmd
}

func newUserPasswd(c *command) *cobra.Command {
	var fromStdin, none bool
	cmd := &cobra.Command{
		Use: "passwd NAME {--password-stdin | --none}", Short: "Change a user's password", Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if fromStdin == none {
				return usageError{errors.New("one of --password-stdin and --none is needed")}
			}
			p := api.SetPassword{User: args[0]}
			if fromStdin {
				if p.Password, err = c.password(); err != nil {
					return err
				}
			}
			return c.operate(cmd, false, func(ctx context.Context, o *operator) error {
				if err := o.call(ctx, "user.passwd", p, nil); err != nil {
					return err
				}
				return c.print(map[string]string{"user": args[0]}, func(t *table) { t.row("password of " + args[0] + " changed") })
			})
		},
	}
	cmd.Flags().BoolVar(&fromStdin, "password-stdin", false, "read the new password from standard input")
	cmd.Flags().BoolVar(&none, "none", false, "remove the password: only device tokens let in")
	c.outputFlag(cmd)
	c.dataFlag(cmd)
	return cmd
}
