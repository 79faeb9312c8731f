//go:build !broken_journal

package broken

// Journal is set by the build tag broken_journal: the journal learns of an attachment after the answer has left.
const Journal = false
