package sandbox

import "runtime"

// inNewThread runs f in a goroutine locked to its thread, which ends with it: whatever f did to the thread goes too.
func inNewThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		done <- f()
	}()
	return <-done
}
