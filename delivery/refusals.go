package delivery

// The refusals that need no words of the moment.
var (
	refuseNotAllowed   = &Refusal{Code: CodeNotAllowed, Message: "you may not write there"}
	refuseNotYours     = &Refusal{Code: CodeNotAllowed, Message: "this topic is not yours"}
	refuseUnknownTopic = &Refusal{Code: CodeUnknownTopic, Message: "there is no such topic"}
	refuseTooLarge     = &Refusal{Code: CodeTooLarge, Message: "the message is larger than this server allows"}
	refuseConflict     = &Refusal{Code: CodeConflict, Message: "this cid was used for another message"}
	refuseFull         = &Refusal{Code: CodeStorageFull, Message: "the server has no space left; nothing was stored", Temporary: true}
	refuseUnavailable  = &Refusal{Code: CodeUnavailable, Message: "the server cannot store messages now; nothing was stored", Temporary: true}
	refuseShutdown     = &Refusal{Code: CodeUnavailable, Message: "the server is shutting down; nothing was stored", Temporary: true}
	refuseInternal     = &Refusal{Code: CodeInternal, Message: "the server failed to do this; it has been logged"}
)

// malformed returns a refusal with a sentence of its own.
func malformed(message string) *Refusal {
	return &Refusal{Code: CodeMalformed, Message: message}
}
