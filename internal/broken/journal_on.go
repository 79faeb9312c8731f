//go:build broken_journal

package broken

// Journal is set by this build's tag: the journal learns of an attachment after the answer has left.
const Journal = true
