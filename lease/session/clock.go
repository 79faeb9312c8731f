package session

import (
	"syscall"
	"time"
	"unsafe"
)

const clockBoottime = 7 // CLOCK_BOOTTIME, clock_gettime(2)

// boottime is the time since the machine booted, time asleep included: what a node's rights are counted by.
func boottime() time.Duration {
	var now syscall.Timespec
	// It cannot fail: the clock is there and now can be written.
	_, _, _ = syscall.Syscall(syscall.SYS_CLOCK_GETTIME, clockBoottime, uintptr(unsafe.Pointer(&now)), 0)
	return time.Duration(now.Nano())
}
