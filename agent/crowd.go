package agent

import (
	"net"
	"sync"
	"time"

	"github.com/berth-ipam/berth/internal/wire"
)

// limits bound what callers may cost together, whoever they are.
type limits struct {
	connections int           // open at once
	bytes       int           // of requests that have not been answered; what they decode to is some times more
	files       int           // that came with them
	receive     time.Duration // from the connection to the whole request
}

var usualLimits = limits{connections: 1024, bytes: 16 << 20, files: 8192, receive: wire.ReceiveTime}

// A crowd is the callers that are connected. Where one more comes, or wants more, than the limits allow, the one that has
// kept the agent waiting longest is cut: so callers that are stuck hold up nobody, however many they are.
type crowd struct {
	limits limits

	mu      sync.Mutex
	in      map[*guest]struct{}
	claimed cost // by all that are in
}

// A cost is what requests have claimed.
type cost struct{ bytes, files int }

// A guest is one caller.
type guest struct {
	*net.UnixConn
	crowd   *crowd
	awaited time.Time // since when the agent waits for this caller; zero: it is the caller that waits
	reads   bool      // what it is awaited to do is to read its answer
	cut     bool
	claimed cost
}

// enter is nil where all that are there wait for the agent.
func (c *crowd) enter(conn *net.UnixConn) *guest {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.in == nil {
		c.in = map[*guest]struct{}{}
	}
	if len(c.in) >= c.limits.connections && !c.cutOne() {
		return nil
	}
	g := &guest{UnixConn: conn, crowd: c, awaited: time.Now()}
	c.in[g] = struct{}{}
	return g
}

// cutOne cuts the guest that has kept the agent waiting longest, and reports whether there was one.
func (c *crowd) cutOne() bool {
	var longest *guest
	for g := range c.in {
		if !g.awaited.IsZero() && (longest == nil || g.awaited.Before(longest.awaited)) {
			longest = g
		}
	}
	if longest == nil {
		return false
	}
	longest.cut = true
	c.remove(longest)
	if longest.reads {
		longest.Close()
	} else {
		longest.CloseRead() // it can still be told
	}
	return true
}

func (c *crowd) remove(g *guest) {
	if _, in := c.in[g]; in {
		delete(c.in, g)
		c.claimed.add(-g.claimed.bytes, -g.claimed.files)
	}
}

// claim is a wire.Claim: it makes room for what a request is about to cost, or refuses it.
func (g *guest) claim(bytes, files int) error {
	c := g.crowd
	c.mu.Lock()
	defer c.mu.Unlock()
	since := g.awaited
	g.awaited = time.Time{} // the others give way
	defer func() { g.awaited = since }()
	for !g.cut && (c.claimed.bytes+bytes > c.limits.bytes || c.claimed.files+files > c.limits.files) {
		if !c.cutOne() {
			return wire.Errorf(wire.CodeTryAgain, "the agent has as much to do as it can keep in mind: try again")
		}
	}
	if g.cut {
		return g.why()
	}
	g.claimed.add(bytes, files)
	c.claimed.add(bytes, files)
	return nil
}

func (c *cost) add(bytes, files int) { c.bytes, c.files = c.bytes+bytes, c.files+files }

// served says that the request has come, and it is the caller that waits now; an error, that the caller was cut before.
func (g *guest) served() error {
	g.crowd.mu.Lock()
	defer g.crowd.mu.Unlock()
	if g.cut {
		return g.why()
	}
	g.awaited = time.Time{}
	return nil
}

func (g *guest) why() error {
	return wire.Errorf(wire.CodeTryAgain,
		"the agent has as many callers as it serves at once, %d at most, and this one has kept it waiting longest: try again",
		g.crowd.limits.connections)
}

// answered says that the agent waits for the caller to read its answer.
func (g *guest) answered() {
	g.crowd.mu.Lock()
	defer g.crowd.mu.Unlock()
	g.awaited, g.reads = time.Now(), true
}

func (g *guest) leave() {
	g.crowd.mu.Lock()
	defer g.crowd.mu.Unlock()
	g.crowd.remove(g)
}
