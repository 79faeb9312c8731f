package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/berth-ipam/berth/e2e/sim/kernel"
	"github.com/berth-ipam/berth/internal/wire"
)

const (
	network  = "net"
	iface    = "eth0"
	poolName = "default"
	bridge   = "berth0"
	uplink   = "eth0"
	redial   = 5 * time.Second // as the plugin has it
	patience = 30 * time.Second
)

// A container is what a runtime has made for a place.
type container struct {
	place   *place
	node    *node
	id      string
	ns      *kernel.Namespace
	booted  int // the node's boot that it belongs to
	request wire.Container

	mu    sync.Mutex
	known fate
}

// A fate is what has become of a container.
type fate struct {
	addresses []netip.Addr // as ADD has answered; none: it has not
	asked     time.Time    // the last ADD
	each      bool         // it was one of a set each of which was done by itself: some of them long before the answer
	answered  time.Time
	had       time.Time // when ADD was first answered
	together  bool      // the last ADD was of a set
	dns       *wire.DNS // as ADD has answered; nil: the last one has not
	missed    bool      // the judge did not find one of its addresses
	silent    time.Time // since when, of one that has a right; zero: it is heard
	deleted   bool      // a DEL has succeeded
	mangled   bool      // its port does not say any more whose it is
	ending    bool      // a DEL is under way, or the namespace has ended: it may be silent
}

func (c *container) fate() fate {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known
}

// becomes changes a container's fate.
func (c *container) becomes(f func(*fate)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(&c.known)
}

// lives reports whether the container's namespace is there.
func (c *container) lives() bool { return c.ns.Alive() }

// running reports whether the container was answered, and nobody ends it.
func (c *container) running() bool {
	f := c.fate()
	return len(f.addresses) > 0 && !f.ending && !f.deleted && c.lives()
}

// there reports whether there may be something of the container that a DEL removes.
func (c *container) there() bool { return !c.fate().deleted && c.lives() }

func (c *container) String() string {
	return fmt.Sprintf("%s of %s on %s with %v", c.id, c.place.name, c.node.name, c.fate().addresses)
}

// A place is what an orchestrator keeps a container for: a member of a stateful app, or a replica of a stateless one.
type place struct {
	cluster *Cluster
	name    string // app-ordinal of a member, app/ordinal of a replica
	app     string
	pool    string
	member  string        // empty: a replica
	turn    chan struct{} // full: a runtime is at it
	made    int

	current  *container   // the last one made
	former   []*container // that may live yet
	kept     []netip.Addr // a member's addresses, as first answered
	doubtful atomic.Bool  // they may have been released, or lost with what etcd has lost
}

// longApp is an app whose name is long: what a port says of its container does not fit into the kernel's alias.
const longApp = "long"

func newPlace(c *Cluster, name string) *place {
	p := &place{cluster: c, name: name, turn: make(chan struct{}, 1)}
	if app, _, replica := strings.Cut(name, "/"); replica {
		p.app = app
	} else {
		p.app, _, _ = strings.Cut(name, "-")
		p.member = name
	}
	p.pool = poolOf(p.app)
	if p.app == longApp {
		p.app = strings.Repeat(longApp+".", 40) + longApp
	}
	return p
}

// lock waits for the runtime's turn: one thing at a time is done to a place.
func (p *place) lock()   { p.turn <- struct{}{} }
func (p *place) unlock() { <-p.turn }

// call asks a node's agent, as the plugin does.
func (n *node) call(within, wait time.Duration, r *wire.Request, namespaces ...*kernel.Namespace) (*wire.Response, error) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	files, err := open(namespaces)
	if err != nil {
		return nil, err
	}
	defer closeAll(files)
	time.Sleep(time.Microsecond + n.chance.Span("call", time.Millisecond)) // a plugin starts
	if r.Started == 0 {
		r.Started = int64(n.boottime())
	}
	response, err := wire.CallBy(ctx, n.socket.dial, "the socket of "+n.name, wait, r, files)
	if err == nil && response.Error != nil {
		err = response.Error
	}
	return response, err
}

// create makes a container with its namespace.
func (p *place) create(n *node) (*container, error) {
	ns, err := n.host.NewNamespace()
	if err != nil {
		return nil, err
	}
	p.made++
	c := &container{place: p, node: n, id: fmt.Sprintf("%s.%d", strings.ReplaceAll(p.name, "/", "."), p.made), ns: ns, booted: n.boots}
	c.describe()
	c.becomes(func(f *fate) { f.asked, f.together, f.each = time.Now(), false, false })
	p.cluster.judge.register(c)
	return c, nil
}

func (c *container) describe() {
	c.request = wire.Container{
		Network: network, ID: c.id, Interface: iface, Role: wire.Interface, Netns: c.ns.Path(), NetnsFile: 1, Namespace: "ns",
		App: c.place.app, Member: c.place.member, Pool: c.place.pool, Bridge: bridge, Uplink: uplink, Class: "stateless",
	}
	if c.place.member != "" {
		c.request.Class = "stateful"
	}
}

// add makes a container and asks for its address. As a runtime does, it deletes one whose ADD has failed.
func (p *place) add(n *node) error {
	c, err := p.create(n)
	if err != nil {
		return err
	}
	if p.current != nil {
		p.former = append(p.former, p.current)
	}
	p.current = c
	if err := c.insert(patience); err != nil {
		c.remove()
		return err
	}
	return nil
}

// insert is ADD.
func (c *container) insert(within time.Duration) error {
	c.becomes(func(f *fate) { f.asked, f.dns = time.Now(), nil })
	sent := c.request
	response, err := c.node.call(within, redial, &wire.Request{Operation: wire.Insert, Verb: "ADD", Containers: wire.Containers{sent}}, c.ns)
	if err != nil {
		c.place.cluster.judge.refused(c, err)
		c.becomes(func(f *fate) { f.asked, f.dns = time.Time{}, nil })
		return err
	}
	c.given(response.Results[0])
	c.place.cluster.judge.answered(c, addressesOf(response.Results[0]))
	return nil
}

// given notes what an ADD has answered besides addresses.
func (c *container) given(r wire.Result) {
	c.becomes(func(f *fate) {
		if f.dns = r.DNS; r.DNS == nil {
			f.dns = &wire.DNS{}
		}
	})
}

// remove is DEL, as often as it takes, and the end of the namespace.
func (c *container) remove() {
	c.becomes(func(f *fate) { f.ending = true })
	for c.booted == c.node.boots && c.node.cluster.going() {
		if err := c.delete(); err == nil {
			break
		}
		time.Sleep(time.Second + c.node.chance.Span("DEL again", time.Second))
	}
	c.becomes(func(f *fate) { f.deleted = true })
	c.ns.End()
	c.place.cluster.judge.forget(c)
}

// delete is DEL. Where no agent answers the plugin leaves a note for the next one.
func (c *container) delete() error {
	sent := c.request
	if !c.lives() {
		sent.Netns, sent.NetnsFile = "", 0
	}
	var ns []*kernel.Namespace
	if sent.NetnsFile > 0 {
		ns = append(ns, c.ns)
	}
	started := c.node.boottime()
	_, err := c.node.call(patience, 0, &wire.Request{Operation: wire.Delete, Verb: "DEL", Containers: wire.Containers{sent}}, ns...)
	if !errors.Is(err, wire.ErrAway) {
		return err
	}
	sent.NetnsFile = 0
	if err := c.node.leaveNote(wire.Note{Started: int64(started), Container: sent}); err != nil {
		return err
	}
	_, err = c.node.call(patience, 0, &wire.Request{Operation: wire.Delete, Verb: "DEL", Containers: wire.Containers{sent}})
	if errors.Is(err, wire.ErrAway) {
		err = nil
	}
	return err
}

// leaveNote writes a note as wire.WriteNote does.
func (n *node) leaveNote(note wire.Note) error {
	text, err := json.Marshal(note)
	if err != nil {
		return err
	}
	spool := filepath.Join(runDir, "spool")
	return n.disk.Put(filepath.Join(spool, fmt.Sprintf("%020d-%s.del", note.Started, note.Container.ID)), text)
}

// errSkipped says that a step had nothing to act on.
var errSkipped = errors.New("there was nothing to act on")
