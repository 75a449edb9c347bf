package scenario

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"tidings/bench/hist"
	"tidings/bench/target"
)

// LightTask says what a few users with little to say do: in pairs, each sends one message a second.
type LightTask struct {
	Addr     string         `json:"addr"`
	Logins   []target.Login `json:"logins"`
	Size     int            `json:"size"`
	Version  byte           `json:"version"`
	Duration time.Duration  `json:"duration"`
}

// LightFound is what these users noticed; latencies are in milliseconds.
type LightFound struct {
	Messages   int64   `json:"messages"`
	ReceiveP50 float64 `json:"receive_p50"`
	ReceiveP99 float64 `json:"receive_p99"`
	PubackP50  float64 `json:"puback_p50"`
	PubackP99  float64 `json:"puback_p99"`
}

// elsewhere is a target that another process has started.
type elsewhere struct {
	target.Target
	addr string
}

// Addr is the address that the task names.
func (e elsewhere) Addr() string { return e.addr }

// RunLight carries out a task.
func RunLight(ctx context.Context, task LightTask) (LightFound, error) {
	b := &bench{
		target: elsewhere{addr: task.Addr}, note: func(string, ...any) {},
		cfg: Config{Size: task.Size, Version: task.Version, Duration: task.Duration},
	}
	f := b.fleetOf(task.Logins)
	defer f.disconnectAll(f.members)
	for i, m := range f.members {
		m.topics = []string{"u/" + f.members[i^1].login.User}
	}
	if err := f.connectAll(ctx, f.members); err != nil {
		return LightFound{}, err
	}
	var late hist.Histogram
	if err := f.sendAtRate(ctx, f.members, float64(len(f.members)), task.Duration, &late); err != nil {
		return LightFound{}, err
	}
	if err := f.settle(ctx, 1); err != nil {
		return LightFound{}, err
	}
	receive, puback := f.e2e.Load(), f.ack.Load()
	return LightFound{
		Messages:   f.arrived.Load(),
		ReceiveP50: ms(receive.Quantile(0.5)), ReceiveP99: ms(receive.Quantile(0.99)),
		PubackP50: ms(puback.Quantile(0.5)), PubackP99: ms(puback.Quantile(0.99)),
	}, nil
}

// lightUsers are the users of a task and the program that carries it out.
type lightUsers struct {
	bin  string
	task LightTask
}

// newLightUsers makes the logins and builds the program into dir; the working directory must be in this module.
func (b *bench) newLightUsers(ctx context.Context, dir string) (*lightUsers, error) {
	names := make([]string, max(2, b.cfg.Light+b.cfg.Light%2))
	for i := range names {
		names[i] = fmt.Sprintf("light%03d", i)
	}
	logins, err := b.target.Logins(ctx, names)
	if err != nil {
		return nil, err
	}
	l := &lightUsers{bin: filepath.Join(dir, "light")}
	l.task = LightTask{Addr: b.target.Addr(), Logins: logins, Size: b.cfg.Size, Version: b.cfg.Version, Duration: b.cfg.Duration}
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", l.bin, "tidings/bench/light").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build bench/light: %w\n%s", err, out)
	}
	return l, nil
}

// run runs the program once.
func (l *lightUsers) run(ctx context.Context) (found LightFound, err error) {
	task, err := json.Marshal(l.task)
	if err != nil {
		return found, err
	}
	cmd := exec.CommandContext(ctx, l.bin)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(task), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return found, fmt.Errorf("light users: %w", err)
	}
	return found, json.Unmarshal(out, &found)
}
