//go:build !broken_epoch

package broken

// Epoch is set by the build tag broken_epoch: a detachment does not compare the epoch.
const Epoch = false
