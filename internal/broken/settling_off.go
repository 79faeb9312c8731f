//go:build !broken_settling

package broken

// Settling is set by the build tag broken_settling: a node that is back hands out, and lets pass, before it has settled.
const Settling = false
