// Package proc reads what a process has used from Linux's /proc.
package proc

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// tick is the unit of times in /proc/PID/stat; the kernel's interface fixes it at 100 a second.
const tick = 10 * time.Millisecond

// CPU is the user and system time that the process's threads have used so far, in steps of 10 ms. 0 means this process.
func CPU(pid int) (time.Duration, error) {
	b, err := os.ReadFile(path(pid, "stat"))
	if err != nil {
		return 0, err
	}
	// The command name, field 2, may hold anything; what follows its last ')' is split by blanks and starts with field 3.
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(fields) < 13 {
		return 0, fmt.Errorf("%s: %d fields", path(pid, "stat"), len(fields))
	}
	var sum time.Duration
	for _, f := range fields[11:13] { // utime, stime
		n, err := strconv.ParseInt(string(f), 10, 64)
		if err != nil {
			return 0, err
		}
		sum += time.Duration(n) * tick
	}
	return sum, nil
}

// RSS is the process's resident memory in bytes. 0 means this process.
func RSS(pid int) (int64, error) {
	b, err := os.ReadFile(path(pid, "statm"))
	if err != nil {
		return 0, err
	}
	fields := bytes.Fields(b)
	if len(fields) < 2 {
		return 0, fmt.Errorf("%s: %q", path(pid, "statm"), b)
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	return pages * int64(os.Getpagesize()), err
}

// Idle is the time that the machine's cores have been idle so far, all added up. Only differences mean something.
func Idle() (time.Duration, error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	line, _, _ := bytes.Cut(b, []byte("\n"))
	fields := bytes.Fields(line)
	if len(fields) < 6 {
		return 0, fmt.Errorf("/proc/stat: %q", line)
	}
	var sum time.Duration
	for _, f := range fields[4:6] { // idle, iowait
		n, err := strconv.ParseInt(string(f), 10, 64)
		if err != nil {
			return 0, err
		}
		sum += time.Duration(n) * tick
	}
	return sum, nil
}

func path(pid int, file string) string {
	if pid == 0 {
		return "/proc/self/" + file
	}
	return fmt.Sprintf("/proc/%d/%s", pid, file)
}
