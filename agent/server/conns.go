package server

import (
	"sync"
	"time"

	"github.com/berth-ipam/berth/internal/wire"
)

// Limits bound what all callers together may cost.
type Limits struct {
	Connections int           // open at once
	Bytes       int           // of unanswered requests; decoded they take several times as much
	Files       int           // of unanswered requests
	Receive     time.Duration // from the connection to the whole request
}

// UsualLimits are the limits of an agent's socket.
var UsualLimits = Limits{Connections: 1024, Bytes: 16 << 20, Files: 8192, Receive: wire.ReceiveTime}

// A limiter tracks the open connections. Where a further one exceeds the limits, the one that has kept the agent waiting longest
// is evicted, so that stuck callers hold up no others.
type limiter struct {
	limits Limits

	mu      sync.Mutex
	open    map[*conn]struct{}
	claimed cost // by all that are open
}

// A cost is what requests have claimed.
type cost struct{ bytes, files int }

// A conn is one caller's connection.
type conn struct {
	Conn
	limiter *limiter
	awaited time.Time // since when the agent waits for this caller; zero: the caller waits
	reads   bool      // the agent waits for it to read its answer
	evicted bool
	claimed cost
}

// admit adds a connection. It is nil if all open ones wait for the agent.
func (l *limiter) admit(c Conn) *conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open == nil {
		l.open = map[*conn]struct{}{}
	}
	if len(l.open) >= l.limits.Connections && !l.evictLocked() {
		return nil
	}
	admitted := &conn{Conn: c, limiter: l, awaited: time.Now()}
	l.open[admitted] = struct{}{}
	return admitted
}

// evictLocked evicts the connection that has kept the agent waiting longest, and reports whether there was one.
func (l *limiter) evictLocked() bool {
	var longest *conn
	for c := range l.open {
		if !c.awaited.IsZero() && (longest == nil || c.awaited.Before(longest.awaited)) {
			longest = c
		}
	}
	if longest == nil {
		return false
	}
	longest.evicted = true
	l.removeLocked(longest)
	if longest.reads {
		longest.Close()
	} else {
		longest.CloseRead() // the refusal can still be sent
	}
	return true
}

func (l *limiter) removeLocked(c *conn) {
	if _, open := l.open[c]; open {
		delete(l.open, c)
		l.claimed.add(-c.claimed.bytes, -c.claimed.files)
	}
}

// claim is a wire.Claim: it makes room for what a request is about to cost, or refuses it.
func (c *conn) claim(bytes, files int) error {
	l := c.limiter
	l.mu.Lock()
	defer l.mu.Unlock()
	since := c.awaited
	c.awaited = time.Time{} // only others are evicted
	defer func() { c.awaited = since }()
	for !c.evicted && (l.claimed.bytes+bytes > l.limits.Bytes || l.claimed.files+files > l.limits.Files) {
		if !l.evictLocked() {
			return wire.Errorf(wire.CodeTryAgain, "the agent has as much to do as it can keep in mind: try again")
		}
	}
	if c.evicted {
		return c.why()
	}
	c.claimed.add(bytes, files)
	l.claimed.add(bytes, files)
	return nil
}

func (c *cost) add(bytes, files int) { c.bytes, c.files = c.bytes+bytes, c.files+files }

// received says that the request is complete, so that the caller waits now; it fails if the connection was evicted before.
func (c *conn) received() error {
	c.limiter.mu.Lock()
	defer c.limiter.mu.Unlock()
	if c.evicted {
		return c.why()
	}
	c.awaited = time.Time{}
	return nil
}

func (c *conn) why() error {
	return wire.Errorf(wire.CodeTryAgain,
		"the agent has as many callers as it serves at once, %d at most, and this one has kept it waiting longest: try again",
		c.limiter.limits.Connections)
}

// answering says that the agent waits for the caller to read its answer.
func (c *conn) answering() {
	c.limiter.mu.Lock()
	defer c.limiter.mu.Unlock()
	c.awaited, c.reads = time.Now(), true
}

// done removes a connection that was answered or closed.
func (c *conn) done() {
	c.limiter.mu.Lock()
	defer c.limiter.mu.Unlock()
	c.limiter.removeLocked(c)
}
