package delivery

import "tidings/chat"

// LeftLate tells presence of the end of a user's last session, as a closing
// session does that was overtaken by a connecting one.
func (e *Engine) LeftLate(u chat.UserID) { e.presence.left(u) }
