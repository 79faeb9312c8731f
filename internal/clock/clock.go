// Package clock has the two clocks that package time does not have as Berth needs them: the time since boot, by which rights are
// counted, and the time of day that goes into records. What only measures how long something took, waits, or ends a wait, uses
// package time.
package clock

import (
	"syscall"
	"time"
	"unsafe"
)

// A Clock is a node's clocks. A field that is nil is the machine's: see OrMachine.
type Clock struct {
	// Boot is the time since the machine booted, time asleep included (CLOCK_BOOTTIME): one clock for all processes of the machine,
	// in whatever namespace but that of time.
	Boot func() time.Duration
	// Asleep is how long the machine has slept in all since it booted, to a millisecond. If it has grown, no timer of the kernel ran
	// meanwhile. A virtual machine does not notice that its host stopped it.
	Asleep func() time.Duration
	// Wall is the time of day, in UTC: for people, and for what is far apart. No two machines' are ever compared where an address
	// depends on it.
	Wall func() time.Time
}

// Machine is the machine's clocks.
func Machine() Clock { return Clock{}.OrMachine() }

// OrMachine is the clock with the machine's for the fields that are nil.
func (c Clock) OrMachine() Clock {
	if c.Boot == nil {
		c.Boot = Boottime
	}
	if c.Asleep == nil {
		c.Asleep = asleep
	}
	if c.Wall == nil {
		c.Wall = func() time.Time { return time.Now().UTC() }
	}
	return c
}

// Numbers of clocks: clock_gettime(2).
const (
	monotonic = 1
	boottime  = 7
)

// Boottime is the machine's Clock.Boot.
func Boottime() time.Duration { return read(boottime) }

func asleep() time.Duration {
	for {
		before := read(monotonic)
		now := read(boottime)
		if read(monotonic)-before < time.Millisecond { // else something came between
			return now - before
		}
	}
}

func read(clock uintptr) time.Duration {
	var now syscall.Timespec
	// It cannot fail: the clock is there and now can be written.
	_, _, _ = syscall.Syscall(syscall.SYS_CLOCK_GETTIME, clock, uintptr(unsafe.Pointer(&now)), 0)
	return time.Duration(now.Nano())
}
