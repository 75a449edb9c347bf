// Package config is every setting of Tidings: one struct from which the YAML file,
// the TIDINGS_… variables, the command line flags and docs/config.md are derived,
// so that none of them can lack one. It is read by the command only, which turns
// it into the configurations of the packages.
//
// A setting has a dotted key, such as limits.body. The file has it as body within
// limits, the environment as TIDINGS_LIMITS_BODY, the command line as
// --limits-body. A flag goes before a variable, a variable before the file, the
// file before the default. All of them are read by the same rules, and every
// problem of all of them is reported at once, each with its place.
package config
