package crash_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"tidings/internal/history"
	"tidings/internal/mqttest"
	"tidings/internal/mqttest/server"
)

// clerk is a device that only makes requests: it subscribes no chat, so it has no inbox and sends no receipts.
type clerk struct {
	w     *world
	login server.Login
	rid   int
}

// refusal is an answer that carries an error.
type refusal struct{ text string }

// Error is the answer's error object.
func (r *refusal) Error() string { return "refused: " + r.text }

// call makes one request on a connection of its own and returns the result.
func (k *clerk) call(ctx context.Context, op string, req map[string]any) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	c, err := mqttest.Dial(ctx, mqttest.Options{
		Addr: k.w.srv.MQTT(), User: k.login.User, ClientID: k.login.Device, Password: k.login.Token, Clean: true,
	})
	if err != nil {
		return nil, err
	}
	defer c.Disconnect()
	if _, err := c.Subscribe(ctx, "u/"+k.login.User+"/rpc/+"); err != nil {
		return nil, err
	}
	k.rid++
	rid := strconv.Itoa(k.rid)
	req["rid"] = rid
	payload, err := json.Marshal(req)
	if err != nil {
		return nil, err
	}
	ack, err := c.PublishWait(ctx, &mqttest.Publish{Topic: "rpc/" + op, Payload: payload, QoS: 1})
	if err != nil {
		return nil, err
	}
	if ack.Code >= 0x80 {
		return nil, fmt.Errorf("PUBACK %#02x", ack.Code)
	}
	for {
		m, err := c.Next(ctx)
		if err != nil {
			return nil, err
		}
		var answer struct {
			RID           string
			Result, Error json.RawMessage
		}
		if err := json.Unmarshal(m.Payload, &answer); err != nil {
			return nil, err
		}
		if answer.RID != rid {
			continue
		}
		if answer.Error != nil {
			return nil, &refusal{string(answer.Error)}
		}
		return answer.Result, nil
	}
}

// page is the number of entries that one request asks for.
const page = 500

// readLog reads the whole log of a chat by rpc/history, from its head down to seq 1, and hands each entry on.
func (k *clerk) readLog(ctx context.Context, topic string, each func(envelope)) error {
	for before := int64(0); before != 1; {
		req := map[string]any{"chat": topic, "limit": page}
		if before > 0 {
			req["before"] = before
		}
		result, err := k.call(ctx, "history", req)
		if err != nil {
			return fmt.Errorf("history of %s for %s: %w", topic, k.login.User, err)
		}
		var r struct {
			Head     int64
			Messages []envelope
		}
		if err := json.Unmarshal(result, &r); err != nil {
			return err
		}
		if len(r.Messages) == 0 {
			return nil
		}
		if last := r.Messages[len(r.Messages)-1].Seq; before == 0 && last != r.Head {
			k.w.t.Errorf("history of %s for %s ends with %d, but its head is %d", topic, k.login.User, last, r.Head)
		}
		for _, env := range r.Messages {
			each(env)
		}
		before = r.Messages[0].Seq
	}
	return nil
}

// readLogs reads every chat as each of its members sees it, records the entries and returns them.
func (w *world) readLogs(record bool) map[entryKey]envelope {
	w.t.Helper()
	all := make(map[entryKey]envelope)
	for chat, members := range w.setting.Members {
		for _, u := range members {
			topic := chat
			if !strings.HasPrefix(chat, "g/") {
				topic = "u/" + other(members, u)
			}
			err := w.clerks[u].readLog(w.t.Context(), topic, func(env envelope) {
				all[entryKey{chat, env.Seq}] = env
				if record {
					w.rec.Add(history.Event{
						Kind: history.Entry, User: u, Device: "clerk", Chat: chat, Seq: env.Seq, ID: env.ID, From: env.From, Msg: env.msg(),
					})
				}
			})
			if refused := new(refusal); errors.As(err, &refused) {
				w.t.Log(err) // a chat without a message; if one was acked the judge misses it
			} else if err != nil {
				w.t.Fatal(err)
			}
		}
	}
	return all
}

// other is the peer of u in a direct chat.
func other(members []string, u string) string {
	if members[0] == u {
		return members[1]
	}
	return members[0]
}
