package e2e_test

import (
	"context"
	"errors"
	"net"
	"testing"

	"github.com/eclipse/paho.golang/paho"
	"github.com/xdg-go/scram"

	"tidings/internal/mqttest/server"
)

const scramMethod = "SCRAM-SHA-256"

// prover answers the server's AUTH packets as somebody who knows a password.
type prover struct {
	client       *scram.Client
	conversation *scram.ClientConversation
	first        string
	salt         string // server-first, without the nonce
	err          error
}

func newProver(t *testing.T, user, password string) *prover {
	t.Helper()
	client, err := scram.SHA256.NewClient(user, password, "")
	if err != nil {
		t.Fatal(err)
	}
	p := &prover{client: client}
	p.begin()
	return p
}

func (p *prover) begin() {
	p.conversation = p.client.NewConversation()
	p.first, p.err = p.conversation.Step("")
}

// Authenticate is what paho calls for each AUTH 0x18.
func (p *prover) Authenticate(a *paho.Auth) *paho.Auth {
	for i, c := range a.Properties.AuthData {
		if c == ',' {
			p.salt = string(a.Properties.AuthData[i:])
			break
		}
	}
	answer, err := p.conversation.Step(string(a.Properties.AuthData))
	p.err = errors.Join(p.err, err)
	return p.auth(0x18, answer)
}

// Authenticated is what paho calls for CONNACK and AUTH 0x00.
func (p *prover) Authenticated() {}

func (p *prover) auth(code byte, data string) *paho.Auth {
	return &paho.Auth{ReasonCode: code, Properties: &paho.AuthProperties{AuthMethod: scramMethod, AuthData: []byte(data)}}
}

// valid checks the server's last message: it knows the password, too.
func (p *prover) valid(t *testing.T, data []byte) {
	t.Helper()
	_, err := p.conversation.Step(string(data))
	if err = errors.Join(p.err, err); err != nil || !p.conversation.Valid() {
		t.Errorf("the server's proof %q: %v", data, err)
	}
}

// scramLogin connects with paho.golang; code is that of the CONNACK.
func (w *world) scramLogin(t *testing.T, p *prover, device string) (c *paho.Client, code byte) {
	t.Helper()
	conn, err := net.Dial("tcp", w.MQTT())
	if err != nil {
		t.Fatal(err)
	}
	c = paho.NewClient(paho.ClientConfig{ClientID: device, Conn: conn, AuthHandler: p})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ack, err := c.Connect(ctx, &paho.Connect{
		ClientID: device, KeepAlive: 60, CleanStart: true,
		Properties: &paho.ConnectProperties{AuthMethod: scramMethod, AuthData: []byte(p.first)},
	})
	if ack == nil {
		t.Fatalf("connect: %v", err)
	}
	if ack.ReasonCode == 0 {
		t.Cleanup(func() { _ = c.Disconnect(&paho.Disconnect{}) })
		if ack.Properties.AuthMethod != scramMethod {
			t.Errorf("CONNACK has the method %q", ack.Properties.AuthMethod)
		}
		p.valid(t, ack.Properties.AuthData)
	}
	return c, ack.ReasonCode
}

func (w *world) wantScram(t *testing.T, user, password string, want byte) (c *paho.Client, p *prover) {
	t.Helper()
	p = newProver(t, user, password)
	c, code := w.scramLogin(t, p, "phone")
	if code != want {
		t.Fatalf("%s with %q: CONNACK %#x, want %#x", user, password, code, want)
	}
	return c, p
}

// Shows MQTT5-4.12.0-1, MQTT5-4.12.0-3, MQTT5-4.12.0-5, MQTT5-4.12.1-1.
func TestScram(t *testing.T) {
	t.Parallel()
	w := newWorld(t, server.Config{})
	w.cli("alice-word\n", "user", "add", "alice", "--password-stdin")
	w.cli("bob-word\n", "user", "add", "bob", "--password-stdin")
	w.cli("", "user", "add", "carol")
	w.cli("", "user", "disable", "bob")

	c, p := w.wantScram(t, "alice", "alice-word", 0)
	if ack, err := c.Subscribe(t.Context(), &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: "u/alice", QoS: 1}}}); err != nil || ack.Reasons[0] != 1 {
		t.Fatalf("subscribe: %+v, %v", ack, err)
	}
	p.begin()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	again, err := c.Authenticate(ctx, p.auth(0x19, p.first))
	if err != nil || !again.Success || again.ReasonCode != 0 {
		t.Fatalf("authenticated again: %+v, %v", again, err)
	}
	if p.err != nil { // paho does not show the server's proof here
		t.Error(p.err)
	}
	if d := object(t, w.cli("", "device", "list", "alice", "-o", "json")); d["device"] != "phone" || d["by_password"] != true || d["inbox"] != true {
		t.Errorf("alice's device is %v", d)
	}

	w.wantScram(t, "alice", "alice-w0rd", 0x86)
	w.wantScram(t, "bob", "bob-word", 0x86)
	w.wantScram(t, "carol", "carol-word", 0x86)
	_, stranger := w.wantScram(t, "nobody", "word", 0x86)

	w.cli("another\n", "user", "passwd", "alice", "--password-stdin")
	w.wantScram(t, "alice", "alice-word", 0x86)
	w.wantScram(t, "alice", "another", 0)

	w.stop()
	w.start()
	w.wantScram(t, "alice", "another", 0)
	if _, now := w.wantScram(t, "nobody", "word", 0x86); now.salt != stranger.salt || now.salt == "" {
		t.Errorf("the salt of a stranger was %q and is %q", stranger.salt, now.salt)
	}
}

func TestScramRenewalWithAnotherPassword(t *testing.T) {
	t.Parallel()
	w := newWorld(t, server.Config{})
	w.cli("alice-word\n", "user", "add", "alice", "--password-stdin")
	c, p := w.wantScram(t, "alice", "alice-word", 0)
	w.cli("another\n", "user", "passwd", "alice", "--password-stdin")
	p.begin()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	again, err := c.Authenticate(ctx, p.auth(0x19, p.first))
	if err == nil && again.Success {
		t.Errorf("the old password was taken: %+v", again)
	}
	select {
	case <-c.Done():
	case <-ctx.Done():
		t.Error("the connection goes on")
	}
}
