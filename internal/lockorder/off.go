//go:build !lockorder

package lockorder

import "sync"

// Host is taken by who puts something on the host's bridges, and by who takes something off.
type Host = Spanning

// Book is that of which bridge is wanted how.
type Book = sync.Mutex

// Gate lets commit, or settle.
type Gate = Spanning

// Spaces is that of the pools' spaces.
type Spaces = sync.Mutex

// Subject is that of one subject. A goroutine holds at most one of them.
type Subject = sync.Mutex

// SubjectRW is Subject for readers and writers.
type SubjectRW = sync.RWMutex

// Attachment says that the goroutine has got an attachment's lock. The result is called when it gives it back.
func Attachment() (released func()) { return func() {} }

// Slot is Attachment for a worker slot.
func Slot() (released func()) { return func() {} }

// Calls says that the goroutine is about to call the kernel or etcd.
func Calls(string) {}
