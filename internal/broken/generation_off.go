//go:build !broken_generation

package broken

// Generation is set by the build tag broken_generation: no transaction compares who its node is.
const Generation = false
