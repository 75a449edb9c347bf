// Package hotpath holds a test that notices when the ways of a message through the server become much dearer.
//
// What a path costs is CPU time of the process, divided by that of a reference loop in the same run, and compared with the
// ratio in testdata, with room for noise. Neither the speed of the machine nor what else it does matters then. After a
// change that is meant to cost something, write new ratios:
//
//	go test ./bench/hotpath -update && go test -race ./bench/hotpath -update
package hotpath
