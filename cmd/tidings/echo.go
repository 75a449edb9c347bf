package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"time"

	"tidings/chat"
	"tidings/internal/mqttest"
)

// echoBot answers direct messages with the same text. It is a client like any
// other: it enters by a device token through the server's own listener, has a
// durable inbox, and acknowledges a message only once its answer is durable. The
// answer's cid is made of the message's id, so that a message that comes again
// after a crash is not answered again.
type echoBot struct {
	addr, user, device, token string
	log                       *slog.Logger
}

const (
	echoMark  = "echo:" // begins the cid of a bot's answer; what carries it is not answered
	echoPing  = 30 * time.Second
	echoPause = time.Second
)

// run connects again and again until ctx ends.
func (b *echoBot) run(ctx context.Context) {
	for ctx.Err() == nil {
		if err := b.session(ctx); err != nil && ctx.Err() == nil {
			b.log.Warn("echo bot lost its connection", "error", err)
		}
		select {
		case <-time.After(echoPause):
		case <-ctx.Done():
		}
	}
}

func (b *echoBot) session(ctx context.Context) error {
	c, err := mqttest.Dial(ctx, mqttest.Options{
		Addr: b.addr, User: b.user, ClientID: b.device, Password: b.token,
		SessionExpiry: 24 * 60 * 60, KeepAlive: 2 * uint16(echoPing/time.Second), ManualAck: true,
	})
	if err != nil {
		return err
	}
	defer c.Disconnect()
	if _, err := c.Subscribe(ctx, "u/"+b.user); err != nil {
		return err
	}
	for {
		m, err := b.next(ctx, c)
		if err != nil {
			return err
		}
		if reply := b.reply(m.Payload); reply != nil {
			if _, err := c.PublishWait(ctx, reply); err != nil {
				return err
			}
		}
		if m.QoS > 0 {
			if err := c.Ack(m.ID, 0); err != nil {
				return err
			}
		}
	}
}

// next waits for a message and keeps the connection alive meanwhile.
func (b *echoBot) next(ctx context.Context, c *mqttest.Client) (*mqttest.Message, error) {
	for {
		wait, cancel := context.WithTimeout(ctx, echoPing)
		m, err := c.Next(wait)
		cancel()
		if err == nil || wait.Err() == nil || ctx.Err() != nil {
			return m, err
		}
		ping, cancel := context.WithTimeout(ctx, echoPing)
		err = c.Ping(ping)
		cancel()
		if err != nil {
			return nil, err
		}
	}
}

// reply returns the answer to an envelope, nil for what is not to be answered:
// anything but texts, answers of a bot, and what the bot's own devices send.
func (b *echoBot) reply(payload []byte) *mqttest.Publish {
	e, err := chat.DecodeEnvelope(payload)
	if err != nil || e.Type != chat.TypeText || e.From == "" || e.From == b.user || strings.HasPrefix(e.CID, echoMark) {
		return nil
	}
	text, ok := e.Text()
	if !ok {
		return nil
	}
	draft, err := json.Marshal(map[string]string{"body": text, "cid": echoMark + e.ID.String()})
	if err != nil {
		return nil // cannot happen: strings always encode
	}
	return &mqttest.Publish{Topic: e.Chat, Payload: draft, QoS: 1}
}
