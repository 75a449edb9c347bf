// Package index finds subscriptions by topic name and values by topic filter.
//
// [Filters] holds topic filters with their subscribers and answers which of them
// a topic name matches: the question of each publish. [Topics] holds topic names
// with values and answers which of them a filter matches: the question of each
// new subscription, about retained messages. Both follow the rules of MQTT for
// "+", "#", empty levels and topics that begin with "$" [MQTT-4.7.1-2,
// MQTT-4.7.1-3, MQTT-4.7.2-1].
//
// Filters and names must be valid by topics.ValidFilter and topics.ValidTopicName;
// nothing here checks that again. What is invalid cannot do harm, but what it
// matches is not defined.
//
// Nothing here is safe for concurrent use: the caller locks. Calls that change
// nothing (Match, Get, Len) may run beside each other, so a sync.RWMutex will do.
// The functions that Match calls must not change what is being matched.
package index
