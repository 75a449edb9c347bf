// Package api is what users and operators can ask of a server beside sending and
// receiving messages: operations such as group.create. Each is written once, with
// the types of its parameters and of its result, and stands in one of two tables:
// Users for what a device may ask on its user's behalf, Operators for what only
// somebody with access to the data directory may.
//
// A table knows no carrier. The broker serves Users on rpc/… topics, the command
// serves Operators on a socket in the data directory; whoever serves a table over
// HTTP finds names, types and documentation by Table.Operations.
//
// # Parameters and results
//
// Both are JSON objects with snake_case names. Parameters are read strictly:
// nesting, duplicate keys and unknown keys are refused as "malformed", with the key
// in question. The key rid belongs to the carrier and is ignored here. Results may
// grow by keys, so readers ignore those that they do not know.
//
// Lists come in pages: limit bounds a page, and next, where the answer has it, is
// what to pass as after (or before) for the following page.
//
// # Refusals
//
// A *delivery.Refusal of the engine goes to the caller as it is. Trouble of the
// store becomes "unavailable" or "storage_full" and is marked as temporary; anything
// else becomes "internal" and is logged without parameters.
package api
