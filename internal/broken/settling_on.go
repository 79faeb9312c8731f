//go:build broken_settling

package broken

// Settling is set by this build's tag: a node that is back hands out, and lets pass, before it has settled.
const Settling = true
