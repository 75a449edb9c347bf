package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"tidings/api"
)

func newDevice(c *command) *cobra.Command {
	return family("device", "Administer devices", newDeviceAdd(c), newDeviceList(c), newDeviceRevoke(c))
}

func newDeviceAdd(c *command) *cobra.Command {
	var from source
	var name string
	cmd := &cobra.Command{
		Use:   "add {USER DEVICE | - | --count N --prefix P}",
		Short: "Make devices with a token each",
		Long: "Makes a device of a user and prints its token, which is the device's MQTT password and cannot be\n" +
			"shown again. DEVICE is the MQTT client identifier. With -, one for each line USER DEVICE of standard\n" +
			"input; with --count one for each of the users P1 … PN. A device that exists gets a new token. For\n" +
			"lists one JSON object a line is printed.",
		Args: between(0, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			many, err := from.many(args)
			if err != nil {
				return err
			}
			if many {
				return c.addDevices(cmd, &from, name)
			}
			if len(args) != 2 {
				return usageError{fmt.Errorf("a user and a device are needed; usage: %s", cmd.UseLine())}
			}
			return c.addDevice(cmd, api.DeviceName{User: args[0], Device: args[1]})
		},
	}
	from.flags(cmd, "make this many devices, each of the user named by --prefix and a number from 1")
	cmd.Flags().StringVar(&name, "device", "device", "name of each device of --count")
	c.outputFlag(cmd)
	c.dataFlag(cmd)
	return cmd
}

func (c *command) addDevice(cmd *cobra.Command, d api.DeviceName) error {
	return c.operate(cmd, true, func(ctx context.Context, o *operator) error {
		var out api.AddedDevices
		if err := o.call(ctx, "device.add", api.AddDevices{Devices: []api.DeviceName{d}}, &out); err != nil {
			return err
		}
		made := out.Devices[0]
		if e := made.Error; e != nil {
			return refusalError{e.Code, e.Message}
		}
		return c.print(made, func(t *table) {
			t.row("user", made.User)
			t.row("client identifier", shown(made.Device))
			t.row("token (MQTT password)", made.Token)
		})
	})
}

func (c *command) addDevices(cmd *cobra.Command, from *source, name string) error {
	var list []api.DeviceName
	fields := 2
	err := from.each(c.in, fields, func(words []string) error {
		d := api.DeviceName{User: words[0], Device: name}
		if len(words) == fields {
			d.Device = words[1]
		}
		list = append(list, d)
		return nil
	})
	if err != nil {
		return err
	}
	return addMany(c, cmd, list, func(ctx context.Context, o *operator, part []api.DeviceName) ([]api.AddedDevice, error) {
		var out api.AddedDevices
		err := o.call(ctx, "device.add", api.AddDevices{Devices: part}, &out)
		return out.Devices, err
	}, func(d *api.AddedDevice) bool { return d.Error != nil })
}

func newDeviceList(c *command) *cobra.Command {
	cmd := &cobra.Command{
		Use: "list USER", Short: "List a user's devices", Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.operate(cmd, false, func(ctx context.Context, o *operator) error {
				var out api.DeviceList
				if err := o.call(ctx, "device.list", map[string]string{"user": args[0]}, &out); err != nil {
					return err
				}
				return printList(c, out.Devices, []string{"DEVICE", "ONLINE", "BY PASSWORD", "INBOX", "SEEN", "CREATED"}, func(d api.DeviceInfo) []string {
					return []string{shown(d.Device), yes(d.Online), yes(d.ByPassword), yes(d.Inbox), when(d.Seen), when(d.Created)}
				})
			})
		},
	}
	c.outputFlag(cmd)
	c.dataFlag(cmd)
	return cmd
}

func newDeviceRevoke(c *command) *cobra.Command {
	cmd := &cobra.Command{
		Use: "revoke USER DEVICE", Short: "End a device for ever: login, inbox and live session",
		Long: "Ends a device for ever: its token, inbox and live session. Its name cannot be used again by this user.\n" +
			"A device that came in by the user's password knows that: see user passwd.",
		Args: exactly(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			d := api.DeviceName{User: args[0], Device: args[1]}
			if d.Device == "" {
				return usageError{errors.New("the device has no name")}
			}
			return c.operate(cmd, false, func(ctx context.Context, o *operator) error {
				if err := o.call(ctx, "device.revoke", d, nil); err != nil {
					return err
				}
				return c.print(d, func(t *table) { t.row("device " + shown(d.Device) + " of " + d.User + " revoked") })
			})
		},
	}
	c.outputFlag(cmd)
	c.dataFlag(cmd)
	return cmd
}
