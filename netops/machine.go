package netops

import (
	"bytes"
	"time"

	"golang.org/x/sys/unix"
)

// Suspended is how long this machine has slept in all since it booted, to a millisecond: CLOCK_BOOTTIME ahead of CLOCK_MONOTONIC.
// If it has grown, no timer of the kernel ran meanwhile, the fence's included, and CloseAll is due. A virtual machine does not
// notice that its host stopped it.
func Suspended() time.Duration {
	for {
		before := clock(unix.CLOCK_MONOTONIC)
		now := clock(unix.CLOCK_BOOTTIME)
		if clock(unix.CLOCK_MONOTONIC)-before < time.Millisecond { // else something came between
			return now - before
		}
	}
}

func clock(id int32) time.Duration {
	var now unix.Timespec
	_ = unix.ClockGettime(id, &now) // it cannot fail: the clocks are there and now can be written
	return time.Duration(now.Nano())
}

// kernelsDevices is the group of the kernel's own news about devices; udev's are in another.
const kernelsDevices = 1

// isClone reads an event of a device: "change@<path>" and variables, each with a zero at its end.
func isClone(news []byte) bool {
	words := bytes.Split(news, []byte{0})
	if !bytes.HasPrefix(words[0], []byte("change@")) {
		return false
	}
	for _, w := range words[1:] {
		if string(w) == "NEW_VMGENID=1" {
			return true
		}
	}
	return false
}
