package sandbox

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// inNewThread runs f in a goroutine locked to its thread, which ends with it: whatever f did to the thread goes too.
func inNewThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// The process's first thread never ends: keep it busy, so that another one takes f.
			defer runtime.UnlockOSThread()
			done <- inNewThread(f)
			return
		}
		done <- f()
	}()
	return <-done
}
