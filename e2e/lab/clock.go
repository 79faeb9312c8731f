package lab

import (
	"fmt"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// ClocksCanJump is nil where the kernel lets the lab set a clock off (time_namespaces(7)), else it says why not.
func ClocksCanJump() error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with what was done to it
		done <- setBootClockOff(time.Second)
	}()
	return <-done
}

// setBootClockOff has every program that this thread starts from now on see a CLOCK_BOOTTIME that is ahead of the
// machine's, as after a sleep of that long. The thread itself keeps its clock.
func setBootClockOff(by time.Duration) error {
	if by == 0 {
		return nil
	}
	if err := unix.Unshare(unix.CLONE_NEWTIME); err != nil {
		return fmt.Errorf("lab: set a clock off: the kernel refuses a time namespace: %w", err)
	}
	// The path by the thread's own id: /proc/thread-self has no such file, and /proc/self is another thread.
	path := fmt.Sprintf("/proc/%d/timens_offsets", unix.Gettid())
	seconds, rest := by/time.Second, by%time.Second
	if rest < 0 { // the file wants nanoseconds from 0
		seconds, rest = seconds-1, rest+time.Second
	}
	if err := os.WriteFile(path, fmt.Appendf(nil, "boottime %d %d\n", seconds, rest), 0); err != nil {
		return fmt.Errorf("lab: set the boot clock off by %v: %w", by, err)
	}
	return nil
}
