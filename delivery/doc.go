// Package delivery is the engine of Tidings: it takes publishes from the
// carrier, appends them to the logs of chats, and feeds every device its inbox.
// It knows no MQTT and no database driver.
//
// A publish goes through four owners:
//
//   - a Turn, owned by the goroutine that reads a connection, parses what one
//     read round brought and hands it over with a single lock;
//   - the committer, one goroutine, the only owner of the heads and of who may
//     write where (the ledger): it authorises, appends one batch durably and
//     hands it on;
//   - the router, one goroutine: it answers the senders in publish order and
//     hands new entries to the live sessions;
//   - the feeder of each session, guarded by the session's lock: window, order,
//     and the log read again by a puller when a device has fallen behind.
//
// Cursors and watermarks are written behind by the flusher, which then tells the
// authors. Nothing is kept in memory for a device that is not connected.
//
// Lock order: Session.mu, then the link's own. directory.mu and room.mu are leaves
// and taken without Session.mu.
package delivery
