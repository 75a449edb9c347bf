package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"tidings/api"
	"tidings/delivery"
	"tidings/hooks"
)

// demoUsers are who lives in a demo server, with the passwords NAME-demo.
var demoUsers = []string{"alice", "bob", "carol", "dave", "erin", "frank"}

const (
	demoGroup = "team"
	demoBot   = "echo"
	demoOpen  = "open/#" // open topics of a demo whose configuration names none
)

// seed puts the demo's users, group and bot into a server, unless they are there,
// prints how to use them and runs the bot.
func (c *command) seed(ctx context.Context, s *server) error {
	o := &operator{parts: s.parts}
	if err := seedUsers(ctx, o); err != nil {
		return fmt.Errorf("demo users: %w", err)
	}
	if err := seedGroup(ctx, s.engine); err != nil {
		return fmt.Errorf("demo group: %w", err)
	}
	var bot api.AddedDevices
	err := o.call(ctx, "device.add", api.AddDevices{Devices: []api.DeviceName{{User: demoBot, Device: "bot"}}}, &bot)
	if err != nil {
		return fmt.Errorf("demo bot: %w", err)
	}
	if e := bot.Devices[0].Error; e != nil {
		return fmt.Errorf("demo bot: %w", refusalError{e.Code, e.Message})
	}
	fmt.Fprint(c.out, demoBox(s))
	echo := &echoBot{addr: s.mqtt.Addr().String(), user: demoBot, device: "bot", token: bot.Devices[0].Token, log: s.log}
	echo.run(ctx)
	return nil
}

// seedUsers makes those who are missing. Only these get a password: a demo that was
// started before keeps what was changed.
func seedUsers(ctx context.Context, o *operator) error {
	names := append([]string{demoBot}, demoUsers...)
	us, err := o.parts.store.UsersByName(ctx, names)
	if err != nil {
		return err
	}
	var add []api.AddUser
	for i, name := range names {
		if us[i].ID != 0 {
			continue
		}
		u := api.AddUser{User: name, Name: strings.ToUpper(name[:1]) + name[1:]}
		if name != demoBot {
			u.Password = name + "-demo"
		}
		add = append(add, u)
	}
	if len(add) == 0 {
		return nil
	}
	return o.call(ctx, "user.add", api.AddUsers{Users: add}, nil)
}

func seedGroup(ctx context.Context, e *delivery.Engine) error {
	if _, err := e.DescribeGroup(ctx, demoGroup, "", 1); err == nil {
		return nil // also if members of it are gone by now
	}
	owner := demoUsers[0]
	id, err := e.UserID(ctx, owner)
	if err != nil {
		return err
	}
	_, err = e.CreateGroup(ctx, hooks.Actor{User: id, UserName: owner}, delivery.GroupSpec{
		Name: demoGroup, Title: "Team", Members: demoUsers[1:],
	})
	if r, ok := errors.AsType[*delivery.Refusal](err); ok && r.Code == delivery.CodeExists {
		return nil
	}
	return err
}

// demoBox is what is printed when the demo is ready.
func demoBox(s *server) string {
	host, port, _ := cutAddress(s.mqtt.Addr().String())
	at := fmt.Sprintf("-h %s -p %s", host, port)
	lines := []string{
		"Tidings demo. Ctrl-C stops it, everything is kept in " + s.cfg.Data + ".",
		"",
		"MQTT       " + s.mqtt.Addr().String(),
		"WebSocket  ws://" + s.web.Addr().String() + s.cfg.WS.Path,
		"Logins     alice bob carol dave erin frank, password NAME-demo (alice-demo)",
		"Group      team (all six), topic g/team",
		"Bot        echo answers, topic u/echo",
		"Open       " + strings.Join(s.cfg.OpenTopics, " ") + ", for plain MQTT of any kind",
		"",
		"Try, in three terminals:",
		fmt.Sprintf("mosquitto_sub %s -u bob -P bob-demo -i phone -c -t 'u/bob/#' -t 'g/+/#' -q 1 -v", at),
		fmt.Sprintf("mosquitto_pub %s -u alice -P alice-demo -i laptop -t u/bob -q 1 -m hi", at),
		fmt.Sprintf("mosquitto_pub %s -u alice -P alice-demo -i laptop -t g/team -q 1 -m 'hi all'", at),
	}
	if slices.Equal(s.cfg.OpenTopics, []string{demoOpen}) {
		lines = append(
			lines, "", "Plain MQTT:",
			fmt.Sprintf("mosquitto_sub %s -u bob -P bob-demo -i sensor -t '%s' -v", at, demoOpen),
			fmt.Sprintf("mosquitto_pub %s -u alice -P alice-demo -i laptop -t open/kitchen/temp -r -m 21", at),
		)
	}
	width := 0
	for _, l := range lines {
		width = max(width, len(l))
	}
	rule := "+" + strings.Repeat("-", width+2) + "+\n"
	var b strings.Builder
	b.WriteString(rule)
	for _, l := range lines {
		fmt.Fprintf(&b, "| %-*s |\n", width, l)
	}
	b.WriteString(rule)
	return b.String()
}
