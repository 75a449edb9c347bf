package target

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"tidings/bench/proc"
	"tidings/internal/mqttest"
	"tidings/internal/mqttest/server"
)

// page is the number of log entries that one request asks for.
const page = 500

// Kill kills the server.
func (t *tidings) Kill() error { return t.srv.Kill() }

// Restart starts the server again. What it measures has the grain of the question for readiness, 5 ms.
func (t *tidings) Restart(ctx context.Context) (took, cpu time.Duration, err error) {
	start := time.Now()
	if err := t.srv.Start(ctx); err != nil {
		return 0, 0, err
	}
	took = time.Since(start)
	cpu, err = proc.CPU(t.srv.PID())
	return took, cpu, err
}

// DiskUse adds up the data directory. A file that goes away meanwhile counts for nothing.
func (t *tidings) DiskUse() (sum int64, err error) {
	err = filepath.WalkDir(t.srv.Data(), func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			var info fs.FileInfo
			if info, err = d.Info(); err == nil {
				sum += info.Size()
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	return sum, err
}

// Metrics reads /metrics.
func (t *tidings) Metrics(ctx context.Context) (map[string]float64, error) { return t.srv.Metrics(ctx) }

// WebAddr is the WebSocket at its default path.
func (t *tidings) WebAddr() string { return "ws://" + t.srv.HTTP() + "/mqtt" }

// Readers makes the device "reader" for each user.
func (t *tidings) Readers(ctx context.Context, users []string) ([]Login, error) {
	devices := make([]server.Device, len(users))
	for i, u := range users {
		devices[i] = server.Device{User: u, Device: u + "-reader"}
	}
	return t.enrol(ctx, devices)
}

func (t *tidings) enrol(ctx context.Context, devices []server.Device) ([]Login, error) {
	made, err := t.srv.AddDevices(ctx, devices...)
	if err != nil {
		return nil, err
	}
	logins := make([]Login, len(made))
	for i, l := range made {
		logins[i] = Login{User: l.User, Device: l.Device, Password: l.Token}
	}
	return logins, nil
}

// logPage is the answer of rpc/history.
type logPage struct {
	Head     int64             `json:"head"`
	More     bool              `json:"more"`
	Messages []json.RawMessage `json:"messages"`
}

// Head asks for the shortest page there is.
func (t *tidings) Head(ctx context.Context, as Login, topic string) (int64, error) {
	c, err := t.caller(ctx, as)
	if err != nil {
		return 0, err
	}
	defer c.Disconnect()
	p, err := readPage(ctx, c, topic, 0, 1)
	return p.Head, err
}

// Log reads the log from its last entry to its first.
func (t *tidings) Log(ctx context.Context, as Login, topic string, each func([]byte)) error {
	c, err := t.caller(ctx, as)
	if err != nil {
		return err
	}
	defer c.Disconnect()
	for before := uint64(0); ; {
		p, err := readPage(ctx, c, topic, before, page)
		if err != nil {
			return err
		}
		for _, m := range p.Messages {
			each(m)
		}
		if !p.More || len(p.Messages) == 0 {
			return nil
		}
		var first struct {
			Seq uint64 `json:"seq"`
		}
		if err := json.Unmarshal(p.Messages[0], &first); err != nil {
			return err
		}
		before = first.Seq
	}
}

// readPage reads the last entries of a log, or those before a seq.
func readPage(ctx context.Context, c *mqttest.Client, topic string, before uint64, limit int) (p logPage, err error) {
	req := map[string]any{"rid": fmt.Sprint(before), "chat": topic, "limit": limit}
	if before > 0 {
		req["before"] = before
	}
	result, err := call(ctx, c, "history", req)
	if err != nil {
		return p, fmt.Errorf("history of %s: %w", topic, err)
	}
	return p, json.Unmarshal(result, &p)
}

// caller connects a device that only makes requests.
func (t *tidings) caller(ctx context.Context, as Login) (*mqttest.Client, error) {
	c, err := mqttest.Dial(ctx, mqttest.Options{
		Addr: t.Addr(), User: as.User, ClientID: as.Device, Password: as.Password, Clean: true,
	})
	if err != nil {
		return nil, err
	}
	if _, err := c.Subscribe(ctx, "u/"+as.User+"/rpc/+"); err != nil {
		c.Drop()
		return nil, err
	}
	return c, nil
}

// call makes one request and waits for its answer.
func call(ctx context.Context, c *mqttest.Client, op string, req map[string]any) (json.RawMessage, error) {
	payload, err := json.Marshal(req)
	if err != nil {
		return nil, err
	}
	ack, err := c.PublishWait(ctx, &mqttest.Publish{Topic: "rpc/" + op, Payload: payload, QoS: 1})
	if err != nil {
		return nil, err
	}
	if ack.Code >= 0x80 {
		return nil, fmt.Errorf("%s: PUBACK %#02x", op, ack.Code)
	}
	for {
		m, err := c.Next(ctx)
		if err != nil {
			return nil, err
		}
		var answer struct {
			RID    string          `json:"rid"`
			Result json.RawMessage `json:"result"`
			Error  json.RawMessage `json:"error"`
		}
		if err := json.Unmarshal(m.Payload, &answer); err != nil {
			return nil, err
		}
		if answer.RID != req["rid"] {
			continue
		}
		if answer.Error != nil {
			return nil, fmt.Errorf("%s refused: %s", op, answer.Error)
		}
		return answer.Result, nil
	}
}
