//go:build !ordered

package order

// Exact says whether the runtime is ordered, so that runs of one seed are to be the same to the last event.
const Exact = false

// By takes the order from a seed.
func By(uint64) {}

// Collect collects garbage until going says no.
func Collect(func() bool) {}
