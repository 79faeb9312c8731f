// Package endless does not end where its guard is gone.
package endless

// Count counts down.
func Count(n int) (steps int) {
	for {
		if n == 0 {
			return steps
		}
		n, steps = max(n-1, 0), steps+1
	}
}
