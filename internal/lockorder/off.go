//go:build !lockorder

package lockorder

import "sync"

// The locks, in the order in which they are taken.
type (
	Host      = sync.RWMutex // what is put on the host's bridges, and what is taken off
	Book      = sync.Mutex   // which bridge is wanted how
	Gate      = sync.RWMutex // what commits, and what settles
	Spaces    = sync.Mutex   // the spaces of the pools
	Subject   = sync.Mutex   // those of one subject, of which a goroutine holds at most one
	SubjectRW = sync.RWMutex // the same, for readers and writers
)

// Attachment says that the goroutine has got an attachment's lock. The result is called when it gives it back.
func Attachment() (released func()) { return func() {} }

// Slot is Attachment for a worker slot.
func Slot() (released func()) { return func() {} }
