// Package guarded has a guard that its test tries, one that is tried in part, one that no test reaches, and one that nothing can try.
package guarded

// Tried is n, but at most ten.
func Tried(n int) int {
	if n > 10 {
		n = 10
	}
	return n
}

// Half is n, but at most ten: its test has no such number.
func Half(n int) int {
	if n > 10 {
		n = 10
	}
	return n
}

// Unreached is n, but at most ten.
func Unreached(n int) int {
	if n > 10 {
		n = 10
	}
	return n
}
