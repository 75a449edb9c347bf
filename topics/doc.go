// Package topics holds the topic grammar of Tidings and the rules that need no
// look-up: which names are ids, what a topic name means, which of the server's
// streams a topic filter selects for a user, what may be published at all.
//
// The topics of the platform:
//
//	u/{user}             messages to a user; on one's own: direct messages
//	u/{user}/typing      who is typing to that user
//	u/{user}/read        the reader's watermark, published only
//	u/{user}/presence    a user's state; selected by explicit filters only
//	u/{user}/receipts    watermarks of one's messages, from the server only
//	u/{user}/events      account events, from the server only
//	u/{user}/sent        answers to one's publishes, from the server only
//	u/{user}/rpc/{rid}   answers to one's requests, from the server only
//	g/{group}            messages of a group
//	g/{group}/typing     who is typing in the group
//	g/{group}/read       the reader's watermark, published only
//	rpc/{operation}      requests, published only
//
// Beside them there may be open topics ([Open]), in which the rules of plain MQTT
// hold; [Rules] say for whom. A filter whose first level is a wildcard selects
// open topics only, never one of the above.
//
// Whether a group has the user as a member, or a user may be written to, is not
// decided here. The package knows code words, no MQTT reason codes. General
// MQTT rules for any topic are in ValidTopicName, ValidFilter and Match.
//
// All functions are pure and safe for concurrent use. Those that are asked about
// one topic or filter take time linear in it, do not allocate, and return parts of
// what they are given.
package topics
