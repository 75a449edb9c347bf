package api

import (
	"context"

	"tidings/delivery"
)

// The parameters and results of device.…
type (
	noParams     struct{}
	deviceRevoke struct {
		Device       string `json:"device" required:"true" doc:"Name of the device, that is its client identifier."`
		Password     string `json:"password" doc:"New password of the user. A device that came in by the password knows it, so that one of the two is needed then."`
		KeepPassword bool   `json:"keep_password" doc:"Leave the password as it is all the same."`
	}

	// DeviceList is the result of device.list.
	DeviceList struct {
		Devices []DeviceInfo `json:"devices" doc:"Devices that are not revoked, in the order in which they were made."`
	}
	// DeviceInfo is one device of a user.
	DeviceInfo struct {
		Device     string `json:"device" doc:"Name, that is the client identifier."`
		Created    int64  `json:"created" doc:"Unix milliseconds."`
		Seen       int64  `json:"seen,omitempty" doc:"When it last connected or left, in Unix milliseconds; left out: never."`
		Online     bool   `json:"online" doc:"It is connected now."`
		ByPassword bool   `json:"by_password" doc:"It has come in by the user's password at least once."`
		Inbox      bool   `json:"inbox" doc:"It has an inbox."`
		Current    bool   `json:"current,omitempty" doc:"It is the caller's own device."`
	}
)

func deviceOps(c *Config) []Operation {
	e, hash := c.Engine, c.Hash
	return []Operation{
		read("device.list", "Lists the caller's devices.", func(ctx context.Context, who delivery.Identity, _ *noParams) (DeviceList, error) {
			ds, err := e.DevicesOf(ctx, who.Actor.User)
			out := devicesOf(ds)
			for i := range out.Devices {
				out.Devices[i].Current = ds[i].ID == who.Actor.Device
			}
			return out, err
		}),
		change("device.revoke", "Ends a device of the caller for ever: its login, inbox and live session. Its name cannot be used again.",
			func(ctx context.Context, who delivery.Identity, in *deviceRevoke) (nothing, error) {
				r := delivery.Revoke{Device: in.Device, KeepPassword: in.KeepPassword}
				if in.Password != "" {
					var err error
					if r.Password, err = hash(ctx, []byte(in.Password)); err != nil {
						return nothing{}, err
					}
				}
				return nothing{}, e.RevokeOwn(ctx, who.Actor.User, r)
			}),
	}
}

func devicesOf(ds []delivery.DeviceInfo) DeviceList {
	out := DeviceList{Devices: []DeviceInfo{}}
	for i := range ds {
		d := &ds[i]
		out.Devices = append(out.Devices, DeviceInfo{
			Device: d.Name, Created: d.Created.UnixMilli(), Seen: d.Seen, Online: d.Online, ByPassword: d.ByWord, Inbox: d.Inbox,
		})
	}
	return out
}
