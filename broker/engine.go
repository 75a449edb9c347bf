package broker

import (
	"context"
	"net/netip"

	"tidings/delivery"
	"tidings/hooks"
)

// engine, exchange, session and turn are what the carrier uses of package delivery. They
// are interfaces for the sake of tests that speak about the wire alone.
type engine interface {
	Login(ctx context.Context, l *hooks.Login) (delivery.Identity, error)
	Begin(ctx context.Context, l *hooks.Login, method string, as *delivery.Identity) (exchange, error)
	EnterOpen(ctx context.Context, client string, remote netip.AddrPort) (delivery.Identity, error)
	IsOpen(id delivery.Identity, topic []byte) bool
	Open(ctx context.Context, id delivery.Identity, o delivery.OpenOptions) (session, delivery.OpenInfo, error)
	NewTurn() turn
	Post(ctx context.Context, from delivery.Identity, p *delivery.Publish, cid string) error
	Kept(ctx context.Context, f func(delivery.KeptSession)) error
	ForgetCarrier(ctx context.Context, id delivery.Identity, carrier []byte) error
}

type exchange interface {
	Next(ctx context.Context, data []byte) (answer []byte, id *delivery.Identity, err error)
}

type session interface {
	Start()
	Expect(subs []delivery.Subscription)
	Subscribe(ctx context.Context, subs []delivery.Subscription) ([]delivery.Granted, error)
	Feed()
	Unsubscribe(ctx context.Context, filters []string) ([]bool, error)
	Subscriptions() []delivery.Subscription
	SaveCarrier(ctx context.Context, b []byte) error
	Ack(tag uint16, refused bool) bool
	Completed(tag uint16) bool
	Writable()
	Leave()
	Close(ctx context.Context, how delivery.CloseHow)
}

// turn belongs to one goroutine. Publish and Answer take sessions of the engine
// that made the turn only.
type turn interface {
	Publish(s session, p *delivery.Publish)
	Answer(s session, packetID uint16, qos byte, r *delivery.Refusal)
	Received(s session, tag uint16, refused bool) bool
	Released(s session, packetID uint16, here bool)
	Commit()
}

// deliveryEngine makes an engine of a *delivery.Engine.
type deliveryEngine struct{ *delivery.Engine }

// Begin returns the exchange as the interface.
func (e deliveryEngine) Begin(ctx context.Context, l *hooks.Login, method string, as *delivery.Identity) (exchange, error) {
	x, err := e.Engine.Begin(ctx, l, method, as)
	if err != nil {
		return nil, err
	}
	return x, nil
}

// Open returns the session as the interface.
func (e deliveryEngine) Open(ctx context.Context, id delivery.Identity, o delivery.OpenOptions) (session, delivery.OpenInfo, error) {
	s, info, err := e.Engine.Open(ctx, id, o)
	if err != nil {
		return nil, info, err
	}
	return s, info, nil
}

// Post appends a message; its place in the chat is of no interest here.
func (e deliveryEngine) Post(ctx context.Context, from delivery.Identity, p *delivery.Publish, cid string) error {
	_, err := e.Engine.Post(ctx, from, p, cid)
	return err
}

// NewTurn returns the turn as the interface.
func (e deliveryEngine) NewTurn() turn { return deliveryTurn{e.Engine.NewTurn()} }

type deliveryTurn struct{ *delivery.Turn }

// Publish hands the publish to the engine's turn.
func (t deliveryTurn) Publish(s session, p *delivery.Publish) {
	t.Turn.Publish(s.(*delivery.Session), p)
}

// Answer hands the answer to the engine's turn.
func (t deliveryTurn) Answer(s session, packetID uint16, qos byte, r *delivery.Refusal) {
	t.Turn.Answer(s.(*delivery.Session), packetID, qos, r)
}

// Received hands a PUBREC to the engine's turn.
func (t deliveryTurn) Received(s session, tag uint16, refused bool) bool {
	return t.Turn.Received(s.(*delivery.Session), tag, refused)
}

// Released hands a PUBREL to the engine's turn.
func (t deliveryTurn) Released(s session, packetID uint16, here bool) {
	t.Turn.Released(s.(*delivery.Session), packetID, here)
}
