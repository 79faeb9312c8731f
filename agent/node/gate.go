package node

import (
	"errors"

	"github.com/berth-ipam/berth/internal/lockorder"
	"github.com/berth-ipam/berth/lease/session"
)

// ErrSuperseded says that the node has another session than the one under which something was chosen. The caller chooses again.
var ErrSuperseded = errors.New("agent: the node's session has changed meanwhile")

// A Gate lets a commit through only while its session is the node's. Settling of a new session excludes all commits.
type Gate struct {
	mu       lockorder.Gate
	session  *session.Session
	outlived *session.Session // of a former incarnation of the store: nothing commits under it
}

// Commit calls f, and returns its error, if the session is the node's in this incarnation of the store; else it returns
// ErrSuperseded. It excludes settling, but not other commits.
func (g *Gate) Commit(session *session.Session, f func() error) error {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.session != session || g.outlived != nil && g.outlived == session {
		return ErrSuperseded
	}
	return f()
}

// Shared calls f. It excludes settling, whichever session is the node's.
func (g *Gate) Shared(f func()) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	f()
}

// Exclusive calls f. It excludes all commits.
func (g *Gate) Exclusive(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f()
}

// Session is the node's present session; nil: none has settled yet.
func (g *Gate) Session() *session.Session {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.session
}

// SessionLocked is Session within Commit, Shared or Exclusive.
func (g *Gate) SessionLocked() *session.Session { return g.session }

// SettledLocked reports whether the node has settled in this incarnation of the store. It is called within Commit, Shared or Exclusive.
func (g *Gate) SettledLocked() bool { return g.session != nil && g.session != g.outlived }

// BeginLocked makes a session the node's. It is called within Exclusive.
func (g *Gate) BeginLocked(session *session.Session) { g.session = session }

// OutliveLocked says that the store is another incarnation than the present session's. It is called within Exclusive.
func (g *Gate) OutliveLocked() { g.outlived = g.session }
