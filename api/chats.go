package api

import (
	"bytes"
	"context"

	"tidings/delivery"
)

// answerBytes is about how large an answer with messages becomes; one message
// always fits.
const answerBytes = 192 << 10

// defaultChats is the length of a page of chats.
const defaultChats = 50

// The parameters and results of chat.… and history.
type (
	chatList struct {
		Before int64 `json:"before" doc:"Chats whose last entry is older than this, in Unix milliseconds; left out: the newest."`
		Limit  int   `json:"limit" doc:"Chats in the answer, 50 by default, at most 200."`
	}
	chatUpdate struct {
		Chat      string  `json:"chat" required:"true" doc:"Topic of the chat: u/{user} or g/{group}."`
		Retention *string `json:"retention" required:"true" doc:"forever, delivered, a duration such as 30d, or \"\" for the server's default."`
	}
	chatReceipts struct {
		Chat  string `json:"chat" required:"true" doc:"Topic of the chat."`
		After string `json:"after" doc:"Members whose names come after this one; left out: from the first."`
		Limit int    `json:"limit" doc:"Members in the answer, 100 by default, at most 1,000."`
	}
	historyGet struct {
		Chat   string `json:"chat" required:"true" doc:"Topic of the chat: u/{user}, g/{group} or u/{me}/events."`
		Before uint64 `json:"before" doc:"Entries with a smaller seq, the latest of them first found."`
		After  uint64 `json:"after" doc:"Entries with a larger seq, the oldest of them first found."`
		Limit  int    `json:"limit" doc:"Entries in the answer, 50 by default, at most 500."`
	}

	chatsResult struct {
		Chats []chatView `json:"chats" doc:"A page of the chats, the most recent first."`
		Next  int64      `json:"next,omitempty" doc:"What to pass as before for the next page."`
	}
	chatView struct {
		Chat      string     `json:"chat" doc:"Topic of the chat, as the caller sees it."`
		Title     string     `json:"title,omitempty" doc:"Title of the group, or name for people of the other user."`
		Head      uint64     `json:"head" doc:"Last seq."`
		Floor     uint64     `json:"floor" doc:"First seq that may still have a body."`
		Unread    int        `json:"unread" doc:"Messages of others behind read, 1,000 meaning that or more."`
		Delivered uint64     `json:"delivered" doc:"The caller's own mark."`
		Read      uint64     `json:"read" doc:"The caller's own mark."`
		Peer      *peerMarks `json:"peer,omitempty" doc:"The other user's marks in a direct chat."`
		Retention string     `json:"retention,omitempty" doc:"Of this chat; left out: the server's default."`
		Time      int64      `json:"ts" doc:"Of the last entry, in Unix milliseconds."`

		Last []byte `json:"-" key:"last" type:"envelope" doc:"The last entry that the caller may see; left out if there is none."`
	}
	peerMarks struct {
		Delivered uint64 `json:"delivered" doc:"Up to where the other user has it."`
		Read      uint64 `json:"read" doc:"Up to where he has read."`
	}
	receiptsResult struct {
		Members []memberMark `json:"members" doc:"A page of the members, in order of name."`
		Next    string       `json:"next,omitempty" doc:"What to pass as after for the next page."`
	}
	memberMark struct {
		User      string `json:"user" doc:"Name of the member."`
		Delivered uint64 `json:"delivered" doc:"Up to where he has it; 0 where the caller may not know."`
		Read      uint64 `json:"read" doc:"Up to where he has read; 0 where the caller may not know."`
	}
	historyResult struct {
		Chat  string `json:"chat" doc:"As asked for."`
		Head  uint64 `json:"head" doc:"Last seq of the chat."`
		Floor uint64 `json:"floor" doc:"First seq that may still have a body."`
		More  bool   `json:"more" doc:"There are entries beyond this page, in the direction asked for."`

		Messages [][]byte `json:"-" key:"messages" type:"array of envelopes" doc:"In ascending order of seq. What retention has removed has stub instead of body."`
	}
)

func (h historyResult) encode() ([]byte, error) {
	b, err := plain(h)
	if err != nil {
		return nil, err
	}
	return splice(b, "messages", array(h.Messages)), nil
}

func (l chatsResult) encode() ([]byte, error) {
	views := make([][]byte, 0, len(l.Chats))
	for i := range l.Chats {
		b, err := plain(&l.Chats[i])
		if err != nil {
			return nil, err
		}
		if l.Chats[i].Last != nil {
			b = splice(b, "last", l.Chats[i].Last)
		}
		views = append(views, b)
	}
	b, err := plain(struct {
		Next int64 `json:"next,omitempty"`
	}{l.Next})
	if err != nil {
		return nil, err
	}
	return splice(b, "chats", array(views)), nil
}

func array(values [][]byte) []byte {
	return append(append([]byte{'['}, bytes.Join(values, []byte{','})...), ']')
}

func chatOps(e *delivery.Engine) []Operation {
	return []Operation{
		read("chat.list", "Lists the caller's chats, the most recent first.", func(ctx context.Context, who delivery.Identity, in *chatList) (chatsResult, error) {
			return listChats(ctx, e, who, in)
		}),
		change("chat.update", "Changes a chat's retention: either user of a direct chat, owners and admins of a group.",
			func(ctx context.Context, who delivery.Identity, in *chatUpdate) (nothing, error) {
				return nothing{}, e.SetRetention(ctx, who.Actor, in.Chat, *in.Retention)
			}),
		read("chat.receipts", "Tells how far each member of a chat is.", func(ctx context.Context, who delivery.Identity, in *chatReceipts) (receiptsResult, error) {
			marks, err := e.Receipts(ctx, who.Actor, in.Chat)
			if err != nil {
				return receiptsResult{}, err
			}
			part, next := page(marks, func(m delivery.MemberMark) string { return m.User }, in.After, in.Limit)
			out := receiptsResult{Members: []memberMark{}, Next: next}
			for _, m := range part {
				out.Members = append(out.Members, memberMark(m))
			}
			return out, nil
		}),
		read("history", "Returns entries of a chat, in ascending order of seq.", func(ctx context.Context, who delivery.Identity, in *historyGet) (historyResult, error) {
			p, err := e.History(ctx, who.Actor, in.Chat, in.Before, in.After, in.Limit)
			return historyResult{Chat: in.Chat, Head: p.Head, Floor: p.Floor, More: p.More, Messages: p.Messages}, err
		}),
	}
}

// listChats makes a page whose end is told by a time. So that none is lost, chats
// of the same millisecond are not torn apart: a page ends in front of them, or, if
// it has no others, holds up to delivery.MaxChatsPage of them.
func listChats(ctx context.Context, e *delivery.Engine, who delivery.Identity, in *chatList) (chatsResult, error) {
	limit := in.Limit
	if limit <= 0 {
		limit = defaultChats
	}
	limit = min(limit, delivery.MaxChatsPage)
	views, err := e.ListChats(ctx, who.Actor, in.Before, delivery.MaxChatsPage)
	if err != nil {
		return chatsResult{}, err
	}
	n := fitting(views, limit)
	out := chatsResult{Chats: make([]chatView, 0, n)}
	for _, v := range views[:n] {
		c := chatView{
			Chat: v.Chat, Title: v.Title, Head: v.Head, Floor: v.Floor, Unread: v.Unread, Delivered: v.Delivered, Read: v.Read,
			Retention: v.Retention, Time: v.Time, Last: v.Last,
		}
		if v.Peer != nil {
			c.Peer = &peerMarks{v.Peer.Delivered, v.Peer.Read}
		}
		out.Chats = append(out.Chats, c)
	}
	if n > 0 && (n < len(views) || len(views) == delivery.MaxChatsPage) {
		out.Next = views[n-1].Time
	}
	return out, nil
}

// fitting returns how many chats a page takes.
func fitting(views []delivery.ChatView, limit int) int {
	n, size := 0, 0
	for n < len(views) && n < limit && (n == 0 || size+len(views[n].Last) <= answerBytes) {
		size += len(views[n].Last)
		n++
	}
	end := n
	for end > 0 && end < len(views) && views[end-1].Time == views[end].Time {
		end--
	}
	if end > 0 {
		return end
	}
	for n > 0 && n < len(views) && views[n].Time == views[n-1].Time {
		n++
	}
	return n
}
