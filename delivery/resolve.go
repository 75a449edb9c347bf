package delivery

import (
	"context"

	"tidings/chat"
)

// resolve finds the chat of each item, reading names and chats that are not in
// memory with one call each.
func (c *committer) resolve(ctx context.Context, b *batch, todo []int32) error {
	b.entries.Retained = b.entries.Retained[:0]
	if err := c.resolveQueues(ctx, b, todo); err != nil {
		return err
	}
	for {
		c.wantUsers, c.wantGroups, c.wantChats = c.wantUsers[:0], c.wantGroups[:0], c.wantChats[:0]
		for _, i := range todo {
			if it := &b.items[i]; it.kind.needsChat() && (it.ledger == nil || it.ledger.gone) {
				c.find(b, it)
			}
		}
		if len(c.wantUsers)+len(c.wantGroups)+len(c.wantChats) == 0 {
			return nil
		}
		if err := c.read(ctx, b, todo); err != nil {
			return err
		}
	}
}

// find looks for an item's chat in memory and notes what is missing.
func (c *committer) find(b *batch, it *item) {
	it.ledger = nil
	if it.refusal != nil {
		return
	}
	id, known := c.chatOf(b, it)
	if !known {
		return
	}
	if it.ledger = c.ledger.get(id); it.ledger == nil {
		c.wantChats = append(c.wantChats, id)
		return
	}
	if it.s != nil {
		it.s.lastChat, it.s.lastGroup = it.ledger, it.group
		it.s.lastName = append(it.s.lastName[:0], b.bytes(it, it.name)...)
	}
}

// chatOf names the chat that an item is for; known is false while a name has to
// be read first, or when the item has been refused because there is none.
func (c *committer) chatOf(b *batch, it *item) (id chat.ID, known bool) {
	if it.post != nil && it.post.chat != (chat.ID{}) {
		return it.post.chat, true
	}
	name := b.bytes(it, it.name)
	if s := it.s; s != nil && s.lastChat != nil && !s.lastChat.gone && s.lastGroup == it.group && string(s.lastName) == string(name) {
		return s.lastChat.id, true
	}
	if it.group {
		g := c.e.groups.cachedName(name)
		if g == nil {
			c.wantGroups = append(c.wantGroups, string(name))
			return chat.ID{}, false
		}
		return chat.GroupChat(g.ID), true
	}
	u := c.e.accounts.cachedName(name)
	if u == nil {
		c.wantUsers = append(c.wantUsers, string(name))
		return chat.ID{}, false
	}
	return chat.DirectChat(it.from(), u.ID), true
}

// read asks the store for what find has missed. Items that name nobody are
// refused: whether somebody exists and whether he may be written to look alike.
func (c *committer) read(ctx context.Context, b *batch, todo []int32) error {
	unknown := make(map[string]bool)
	if len(c.wantUsers) > 0 {
		us, err := c.e.accounts.named(ctx, c.wantUsers)
		if err != nil {
			return err
		}
		for i, u := range us {
			if u == nil {
				unknown["u/"+c.wantUsers[i]] = true
			}
		}
	}
	if len(c.wantGroups) > 0 {
		gs, err := c.e.groups.named(ctx, c.wantGroups)
		if err != nil {
			return err
		}
		for i, g := range gs {
			if g == nil {
				unknown["g/"+c.wantGroups[i]] = true
			}
		}
	}
	if len(unknown) > 0 {
		for _, i := range todo {
			it := &b.items[i]
			prefix := "u/"
			if it.group {
				prefix = "g/"
			}
			if it.ledger == nil && unknown[prefix+string(b.bytes(it, it.name))] {
				it.refusal = refuseNotAllowed
			}
		}
	}
	if len(c.wantChats) == 0 {
		return nil
	}
	return c.ledger.read(ctx, unique(c.wantChats))
}

// unique returns ids without repetitions, reusing their memory.
func unique(ids []chat.ID) []chat.ID {
	seen := make(map[chat.ID]bool, len(ids))
	out := ids[:0]
	for _, id := range ids {
		if !seen[id] {
			seen[id] = true
			out = append(out, id)
		}
	}
	return out
}
