//go:build broken_generation

package broken

// Generation is set by this build's tag: no transaction compares who its node is.
const Generation = true
