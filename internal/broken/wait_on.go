//go:build broken_wait

package broken

// Wait is set by this build's tag: what an absent node holds is taken without waiting for its right to run out.
const Wait = true
