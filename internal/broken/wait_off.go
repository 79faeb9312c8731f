//go:build !broken_wait

package broken

// Wait is set by the build tag broken_wait: what an absent node holds is taken without waiting for its right to run out.
const Wait = false
