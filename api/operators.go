package api

import (
	"context"

	"tidings/chat"
	"tidings/delivery"
)

// MaxBatch is how many users or devices one call of an operator may make.
const MaxBatch = 10_000

// The parameters and results of operators.
type (
	// AddUsers are the parameters of user.add.
	AddUsers struct {
		Users []AddUser `json:"users" required:"true" doc:"Accounts to make, at most 10,000 a call."`
	}
	// AddUser is one account to be made.
	AddUser struct {
		User     string `json:"user"`
		Name     string `json:"name,omitempty"`
		Password string `json:"password,omitempty"` // "": the user can only enter with device tokens
	}
	// AddedUsers is the result of user.add, in the order of the call.
	AddedUsers struct {
		Users []AddedUser `json:"users" doc:"In the order of the call; error says why one was not made."`
	}
	// AddedUser tells what became of one account.
	AddedUser struct {
		User  string     `json:"user"`
		Error *ErrorBody `json:"error,omitempty"`
	}
	// ErrorBody is a refusal of one item of a batch.
	ErrorBody struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}

	// AddDevices are the parameters of device.add.
	AddDevices struct {
		Devices []DeviceName `json:"devices" required:"true" doc:"Devices to make, at most 10,000 a call. One that exists gets a new token."`
	}
	// DeviceName names a device.
	DeviceName struct {
		User   string `json:"user" required:"true" doc:"Name of the user."`
		Device string `json:"device" required:"true" doc:"Name of the device, that is its client identifier."`
	}
	// AddedDevices is the result of device.add, in the order of the call.
	AddedDevices struct {
		Devices []AddedDevice `json:"devices" doc:"In the order of the call, with the token, or with an error that says why there is none."`
	}
	// AddedDevice tells what became of one device. Token is a secret that cannot be
	// had again.
	AddedDevice struct {
		User   string     `json:"user"`
		Device string     `json:"device"`
		Token  string     `json:"token,omitempty"`
		Error  *ErrorBody `json:"error,omitempty"`
	}

	// Page are the parameters of user.list and group.list.
	Page struct {
		After string `json:"after,omitempty" doc:"Names that come after this one; left out: from the first."`
		Limit int    `json:"limit,omitempty" doc:"Names in the answer, 100 by default, at most 1,000."`
	}
	// UserList is the result of user.list.
	UserList struct {
		Users []UserInfo `json:"users" doc:"A page of the accounts, in order of name; see there."`
		Next  string     `json:"next,omitempty" doc:"What to pass as after for the next page."`
	}
	// UserInfo is an account as operators see it.
	UserInfo struct {
		User     string `json:"user"`
		Name     string `json:"name,omitempty"`
		Created  int64  `json:"created"` // Unix milliseconds
		State    string `json:"state"`   // active, disabled or removed
		Password bool   `json:"password"`
	}
	// GroupList is the result of group.list.
	GroupList struct {
		Groups []GroupSummary `json:"groups" doc:"A page of the groups, in order of name; see there."`
		Next   string         `json:"next,omitempty" doc:"What to pass as after for the next page."`
	}
	// GroupSummary is a group in a list.
	GroupSummary struct {
		Group   string `json:"group"`
		Title   string `json:"title,omitempty"`
		Created int64  `json:"created"` // Unix milliseconds
		History bool   `json:"history"`
		Removed bool   `json:"removed,omitempty"`
	}

	// SetPassword are the parameters of user.passwd.
	SetPassword struct {
		User     string `json:"user" required:"true" doc:"Name of the user."`
		Password string `json:"password,omitempty" doc:"New password; left out: none, so that only device tokens let in."`
	}
)

// Operators returns the operations of somebody who administers the server. They
// must be served only to those who may read the data directory.
func Operators(c Config) *Table {
	var ops []Operation
	ops = append(ops, operatorUsers(&c)...)
	ops = append(ops, operatorDevices(&c)...)
	ops = append(ops, operatorGroups(c.Engine)...)
	ops = append(ops, operatorStore(&c)...)
	return newTable(&c, ops...)
}

func operatorUsers(c *Config) []Operation {
	e := c.Engine
	act := func(do func(ctx context.Context, name string) error) func(context.Context, delivery.Identity, *userName) (nothing, error) {
		return func(ctx context.Context, _ delivery.Identity, in *userName) (nothing, error) {
			return nothing{}, do(ctx, in.User)
		}
	}
	return []Operation{
		change("user.add", "Makes accounts.", func(ctx context.Context, _ delivery.Identity, in *AddUsers) (AddedUsers, error) {
			return addUsers(ctx, c, in.Users)
		}),
		read("user.list", "Lists the accounts.", func(ctx context.Context, _ delivery.Identity, in *Page) (UserList, error) {
			limit := pageSize(in.Limit)
			us, err := e.ListUsers(ctx, in.After, limit)
			out := UserList{Users: []UserInfo{}}
			for i := range us {
				out.Users = append(out.Users, userInfo(&us[i]))
			}
			if len(us) == limit {
				out.Next = us[limit-1].Name
			}
			return out, err
		}),
		change("user.disable", "Keeps a user out until he is enabled; live sessions end at once.",
			act(func(ctx context.Context, name string) error { return e.SetDisabled(ctx, name, true) })),
		change("user.enable", "Lets a disabled user in again.",
			act(func(ctx context.Context, name string) error { return e.SetDisabled(ctx, name, false) })),
		change("user.remove", "Ends an account for ever; its name stays reserved.", act(e.RemoveUser)),
		change("user.passwd", "Gives a user another password, or none.", func(ctx context.Context, _ delivery.Identity, in *SetPassword) (nothing, error) {
			hash, err := hashed(ctx, c, in.Password)
			if err != nil {
				return nothing{}, err
			}
			return nothing{}, e.SetPassword(ctx, in.User, hash)
		}),
	}
}

func hashed(ctx context.Context, c *Config, password string) (chat.Credentials, error) {
	if password == "" {
		return chat.Credentials{}, nil
	}
	return c.Hash(ctx, []byte(password))
}

func addUsers(ctx context.Context, c *Config, users []AddUser) (AddedUsers, error) {
	if len(users) > MaxBatch {
		return AddedUsers{}, &delivery.Refusal{Code: delivery.CodeQuota, Message: "at most 10,000 users in one call"}
	}
	list := make([]delivery.NewUser, len(users))
	for i, u := range users {
		hash, err := hashed(ctx, c, u.Password)
		if err != nil {
			return AddedUsers{}, err
		}
		list[i] = delivery.NewUser{Name: u.User, Title: u.Name, Credentials: hash}
	}
	refusals, err := c.Engine.AddUsers(ctx, list)
	out := AddedUsers{Users: make([]AddedUser, len(refusals))}
	for i, r := range refusals {
		out.Users[i] = AddedUser{users[i].User, errorBody(r)}
	}
	return out, err
}

func errorBody(r *delivery.Refusal) *ErrorBody {
	if r == nil {
		return nil
	}
	return &ErrorBody{r.Code, r.Message}
}

func userInfo(u *chat.User) UserInfo {
	info := UserInfo{User: u.Name, Name: u.Title, Created: u.Created.UnixMilli(), State: "active", Password: u.Password != ""}
	switch {
	case u.Removed:
		info.State = "removed"
	case u.Disabled:
		info.State = "disabled"
	}
	return info
}

func operatorDevices(c *Config) []Operation {
	e := c.Engine
	return []Operation{
		change("device.add", "Makes devices that enter by a token of their own.", func(ctx context.Context, _ delivery.Identity, in *AddDevices) (AddedDevices, error) {
			return addDevices(ctx, c, in.Devices)
		}),
		read("device.list", "Lists a user's devices.", func(ctx context.Context, _ delivery.Identity, in *userName) (DeviceList, error) {
			u, err := e.UserID(ctx, in.User)
			if err != nil {
				return DeviceList{}, err
			}
			ds, err := e.DevicesOf(ctx, u)
			return devicesOf(ds), err
		}),
		change("device.revoke", "Ends a device for ever: its token, inbox and live session. Its name cannot be used again.",
			func(ctx context.Context, _ delivery.Identity, in *DeviceName) (nothing, error) {
				u, err := e.UserID(ctx, in.User)
				if err != nil {
					return nothing{}, err
				}
				return nothing{}, e.RevokeDevice(ctx, u, in.Device)
			}),
	}
}

func addDevices(ctx context.Context, c *Config, devices []DeviceName) (AddedDevices, error) {
	if len(devices) > MaxBatch {
		return AddedDevices{}, &delivery.Refusal{Code: delivery.CodeQuota, Message: "at most 10,000 devices in one call"}
	}
	out := AddedDevices{Devices: make([]AddedDevice, len(devices))}
	list := make([]delivery.NewDevice, len(devices))
	for i, d := range devices {
		token, hash := c.NewToken()
		out.Devices[i] = AddedDevice{User: d.User, Device: d.Device, Token: token}
		list[i] = delivery.NewDevice{User: d.User, Name: d.Device, Token: hash}
	}
	refusals, err := c.Engine.AddDevices(ctx, list)
	for i, r := range refusals {
		if r != nil {
			out.Devices[i].Token, out.Devices[i].Error = "", errorBody(r)
		}
	}
	return out, err
}

func operatorGroups(e *delivery.Engine) []Operation {
	return []Operation{
		read("group.list", "Lists the groups.", func(ctx context.Context, _ delivery.Identity, in *Page) (GroupList, error) {
			limit := pageSize(in.Limit)
			gs, err := e.ListGroups(ctx, in.After, limit)
			out := GroupList{Groups: []GroupSummary{}}
			for i := range gs {
				g := &gs[i]
				out.Groups = append(out.Groups, GroupSummary{g.Name, g.Title, g.Created.UnixMilli(), g.History, g.Removed})
			}
			if len(gs) == limit {
				out.Next = gs[limit-1].Name
			}
			return out, err
		}),
		read("group.show", "Describes a group.", func(ctx context.Context, _ delivery.Identity, in *groupGet) (GroupInfo, error) {
			g, err := e.DescribeGroup(ctx, in.Group, in.After, pageSize(in.Limit))
			return group(&g), err
		}),
	}
}

func operatorStore(c *Config) []Operation {
	return []Operation{
		change("retention.sweep", "Applies retention now instead of within a minute.", func(ctx context.Context, _ delivery.Identity, _ *noParams) (nothing, error) {
			return nothing{}, c.Engine.Sweep(ctx)
		}),
		change("store.compact", "Rewrites the store so that what retention has removed is gone from disk.",
			func(ctx context.Context, _ delivery.Identity, _ *noParams) (nothing, error) {
				if c.Compact == nil {
					return nothing{}, nil
				}
				return nothing{}, c.Compact(ctx)
			}),
	}
}
