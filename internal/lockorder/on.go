//go:build lockorder

package lockorder

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"sync"
)

// The lines of the order, as numbers.
const (
	attachment = 1 + iota
	slot
	host
	book
	gate
	spaces
	subject
)

var names = [...]string{
	attachment: "an attachment's lock", slot: "a worker slot", host: "the host's order", book: "the bridges' book", gate: "the gate",
	spaces: "the spaces' lock", subject: "a subject's lock",
}

// held are the lines that each goroutine holds, by its number.
var held = struct {
	sync.Mutex
	by map[uint64][]int
}{by: map[uint64][]int{}}

// goroutine is the number of the running one, as its stack trace begins.
func goroutine() uint64 {
	var b [64]byte
	text := bytes.TrimPrefix(b[:runtime.Stack(b[:], false)], []byte("goroutine "))
	number, _, _ := bytes.Cut(text, []byte(" "))
	id, err := strconv.ParseUint(string(number), 10, 64)
	if err != nil {
		panic("lockorder: a stack trace begins otherwise: " + string(text))
	}
	return id
}

// take notes that the goroutine is about to take a lock of a line. Several attachments' locks may be held, in an order of
// their own.
func take(line int) (released func()) {
	id := goroutine()
	held.Lock()
	defer held.Unlock()
	for _, h := range held.by[id] {
		if h > line || h == line && line != attachment {
			panic(fmt.Sprintf("lockorder: %s is taken by who holds %s", names[line], names[h]))
		}
	}
	held.by[id] = append(held.by[id], line)
	return func() { drop(id, line) }
}

// note is take without the question.
func note(line int) bool {
	held.Lock()
	defer held.Unlock()
	id := goroutine()
	held.by[id] = append(held.by[id], line)
	return true
}

func drop(id uint64, line int) {
	held.Lock()
	defer held.Unlock()
	i := slices.Index(held.by[id], line)
	if i < 0 {
		panic(fmt.Sprintf("lockorder: %s is given back by who has not taken it", names[line]))
	}
	if held.by[id] = slices.Delete(held.by[id], i, i+1); len(held.by[id]) == 0 {
		delete(held.by, id)
	}
}

// Attachment says that the goroutine has got an attachment's lock. The result is called when it gives it back.
func Attachment() (released func()) { return take(attachment) }

// Slot is Attachment for a worker slot.
func Slot() (released func()) { return take(slot) }

// Calls says that the goroutine is about to call the kernel or etcd, which may take long. Who holds a lock of a line that spans no
// such call panics.
func Calls(what string) {
	held.Lock()
	defer held.Unlock()
	for _, h := range held.by[goroutine()] {
		if h == book || h == spaces || h == subject || what == Etcd && h != attachment {
			panic(fmt.Sprintf("lockorder: %s is called by who holds %s", what, names[h]))
		}
	}
}

// A line is that of a type of lock.
type line interface{ line() int }

type (
	hostLine    struct{}
	bookLine    struct{}
	gateLine    struct{}
	spacesLine  struct{}
	subjectLine struct{}
)

func (hostLine) line() int    { return host }
func (bookLine) line() int    { return book }
func (gateLine) line() int    { return gate }
func (spacesLine) line() int  { return spaces }
func (subjectLine) line() int { return subject }

// An rw is what a sync.RWMutex can.
type rw[M any] interface {
	*M
	Lock()
	Unlock()
	RLock()
	RUnlock()
	TryLock() bool
	TryRLock() bool
}

// A lock is an M, such as a sync.RWMutex, of one line.
type lock[L line, M any, P rw[M]] struct{ mu M }

func (l *lock[L, M, P]) at() int { var of L; return of.line() }

// Lock is that of a sync.RWMutex.
func (l *lock[L, M, P]) Lock() { take(l.at()); P(&l.mu).Lock() }

// Unlock is that of a sync.RWMutex.
func (l *lock[L, M, P]) Unlock() { P(&l.mu).Unlock(); drop(goroutine(), l.at()) }

// RLock is that of a sync.RWMutex.
func (l *lock[L, M, P]) RLock() { take(l.at()); P(&l.mu).RLock() }

// RUnlock is that of a sync.RWMutex.
func (l *lock[L, M, P]) RUnlock() { P(&l.mu).RUnlock(); drop(goroutine(), l.at()) }

// TryLock is that of a sync.RWMutex. Who does not wait keeps every order.
func (l *lock[L, M, P]) TryLock() bool { return P(&l.mu).TryLock() && note(l.at()) }

// TryRLock is that of a sync.RWMutex.
func (l *lock[L, M, P]) TryRLock() bool { return P(&l.mu).TryRLock() && note(l.at()) }

// Host is taken by who puts something on the host's bridges, and by who takes something off.
type Host = lock[hostLine, Spanning, *Spanning]

// Book is that of which bridge is wanted how.
type Book = lock[bookLine, sync.RWMutex, *sync.RWMutex]

// Gate lets commit, or settle.
type Gate = lock[gateLine, Spanning, *Spanning]

// Spaces is that of the pools' spaces.
type Spaces = lock[spacesLine, sync.RWMutex, *sync.RWMutex]

// Subject is that of one subject. A goroutine holds at most one of them.
type Subject = lock[subjectLine, sync.RWMutex, *sync.RWMutex]

// SubjectRW is Subject for readers and writers.
type SubjectRW = lock[subjectLine, sync.RWMutex, *sync.RWMutex]
