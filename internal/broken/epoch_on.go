//go:build broken_epoch

package broken

// Epoch is set by this build's tag: a detachment does not compare the epoch.
const Epoch = true
