package node

import (
	"errors"

	"github.com/berth-ipam/berth/internal/lockorder"
	"github.com/berth-ipam/berth/lease/session"
)

// ErrSuperseded says that the session under which something was chosen is not the node's any more: it is chosen anew.
var ErrSuperseded = errors.New("agent: the node's session has changed meanwhile")

// A Gate lets what belongs to one session commit only while that is the node's session. What settles a new one excludes
// all commits meanwhile.
type Gate struct {
	mu       lockorder.Gate
	session  *session.Session
	outlived *session.Session // of a former incarnation of the store: what it was given is nothing in this one
}

// Commit calls f if the session is still the node's, of this incarnation of the store, and returns what it returns; else
// ErrSuperseded. Nothing settles meanwhile; others commit beside it.
func (g *Gate) Commit(session *session.Session, f func() error) error {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.session != session || g.outlived != nil && g.outlived == session {
		return ErrSuperseded
	}
	return f()
}

// Shared calls f while nothing settles, whichever session is the node's.
func (g *Gate) Shared(f func()) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	f()
}

// Exclusive calls f while nothing commits.
func (g *Gate) Exclusive(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f()
}

// Session is the node's present session; nil: it has never settled one.
func (g *Gate) Session() *session.Session {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.session
}

// SessionLocked is Session for who is inside the gate.
func (g *Gate) SessionLocked() *session.Session { return g.session }

// BeginLocked makes a session the node's. It is called within Exclusive.
func (g *Gate) BeginLocked(session *session.Session) { g.session = session }

// OutliveLocked says that the store is another incarnation than the present session's. It is called within Exclusive.
func (g *Gate) OutliveLocked() { g.outlived = g.session }
