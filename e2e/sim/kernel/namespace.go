package kernel

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/netops"
)

// A Namespace is a container's network namespace. A file stands for it, which the model knows by its inode.
type Namespace struct {
	host   *Host
	path   string
	inode  uint64
	cookie uint64
	ended  bool
	empty  bool // no process is in it
	links  links
	routes []route
	made   int // links
}

// A route of a namespace.
type route struct {
	netops.Route
	link   *link
	table  int
	kernel bool // it came with an address
}

const mainTable = unix.RT_TABLE_MAIN

// NewNamespace makes a network namespace with a process in it.
func (h *Host) NewNamespace() (*Namespace, error) {
	h.lan.mu.Lock()
	defer h.lan.mu.Unlock()
	h.lan.made++
	n := &Namespace{host: h, cookie: h.lan.made, links: links{}}
	n.path = filepath.Join(h.lan.dir, fmt.Sprint("netns-", n.cookie))
	if err := os.WriteFile(n.path, nil, 0o444); err != nil {
		return nil, err
	}
	var s unix.Stat_t
	if err := unix.Stat(n.path, &s); err != nil {
		return nil, err
	}
	n.inode = s.Ino
	h.lan.byInode[n.inode] = n
	h.namespaces[n] = true
	lo := n.add("lo", loopback)
	lo.mtu, lo.up = 65536, true
	lo.addresses = loopbacks()
	return n, nil
}

func loopbacks() []address {
	return []address{{Prefix: netip.MustParsePrefix("127.0.0.1/8")}, {Prefix: netip.MustParsePrefix("::1/128")}}
}

func (n *Namespace) add(name, kind string) *link {
	n.made++
	l := &link{host: n.host, ns: n, name: name, kind: kind, index: n.made, mtu: ordinary}
	n.links[name] = l
	return l
}

// Path is where the namespace's file is.
func (n *Namespace) Path() string { return n.path }

// Host is the machine that has the namespace.
func (n *Namespace) Host() *Host { return n.host }

// Open opens the namespace's file. The caller closes it.
func (n *Namespace) Open() (*os.File, error) { return os.Open(n.path) }

// Desert ends the processes in the namespace, which lives on by its file.
func (n *Namespace) Desert() { n.host.lan.change(func() { n.empty = true }) }

// Alive reports whether the namespace has not ended.
func (n *Namespace) Alive() bool {
	n.host.lan.mu.Lock()
	defer n.host.lan.mu.Unlock()
	return !n.ended
}

// Port is the name of the host's end of an interface; none: empty.
func (n *Namespace) Port(iface string) string {
	n.host.lan.mu.Lock()
	defer n.host.lan.mu.Unlock()
	if l := n.links[iface]; l != nil && l.peer != nil {
		return l.peer.name
	}
	return ""
}

// End ends the namespace, also for those who have it open: its interfaces go, their ports with them.
func (n *Namespace) End() {
	n.host.lan.change(n.end)
}

func (n *Namespace) end() {
	if n.ended {
		return
	}
	n.ended = true
	os.Remove(n.path)
	delete(n.host.namespaces, n)
	for _, l := range n.links.ordered() {
		if l.peer != nil && l.peer.isPort() {
			n.host.tell(netops.Event{Kind: netops.PortGone, Port: l.peer.name}, nil)
		}
		l.remove()
	}
	for id, other := range n.host.ids {
		if other == n {
			delete(n.host.ids, id)
			n.host.tell(netops.Event{Kind: netops.NamespaceGone, NamespaceID: id}, nil)
		}
	}
}

// connect adds the route that comes with an address.
func (n *Namespace) connect(l *link, p netip.Prefix) {
	r := route{netops.Route{To: p.Masked()}, l, mainTable, true}
	if (p.Addr().Is4() && p.IsSingleIP()) || slices.Contains(n.routes, r) {
		return
	}
	n.routes = append(n.routes, r)
}

// disconnect takes the route of an address away that has left a link, unless another address needs it. With its last IPv4 address
// a link loses all routes of IPv4.
func (n *Namespace) disconnect(l *link, gone netip.Prefix) {
	last, needed := gone.Addr().Is4(), false
	for _, a := range l.addresses {
		last = last && a.Addr().Is6()
		needed = needed || a.Prefix.Masked() == gone.Masked()
	}
	n.drop(func(r route) bool {
		return r.link == l && (last && r.To.Addr().Is4() || !needed && r.kernel && r.To == gone.Masked())
	})
}

func (n *Namespace) drop(gone func(route) bool) { n.routes = slices.DeleteFunc(n.routes, gone) }

// put adds a route of the main table. exclusive: not where one leads there already; else it comes behind those.
func (n *Namespace) put(p *netops.Port, l *link, r netops.Route, exclusive bool) error {
	r.To = r.To.Masked()
	for _, held := range n.routes {
		same := held.To == r.To && held.table == mainTable && (r.To.Addr().Is4() || !held.kernel)
		if same && (exclusive || held.link == l && held.Via == r.Via) {
			return nil
		}
	}
	if r.To.Addr().Is6() && l.mtu < minimumV6 {
		return fmt.Errorf("add route to %v via %v: %w", r.To, r.Via, unix.ENODEV)
	}
	if !n.reaches(p, l, r.Via) {
		errno := unix.ENETUNREACH
		if r.Via.Is6() {
			errno = unix.EHOSTUNREACH
		}
		return fmt.Errorf("add route to %v via %v: %w", r.To, r.Via, errno)
	}
	if !l.up {
		return fmt.Errorf("add route to %v via %v: %w", r.To, r.Via, unix.ENETDOWN)
	}
	n.routes = append(n.routes, route{r, l, mainTable, false})
	return nil
}

// reaches reports whether a neighbour that a route leads via is on the link.
func (n *Namespace) reaches(p *netops.Port, l *link, via netip.Addr) bool {
	own := func(a address) bool { return a.Addr().Is4() && a.Addr() == via } // is local also while the link is down
	if !via.IsValid() || p.OnLink || via.IsLinkLocalUnicast() || slices.ContainsFunc(l.addresses, own) {
		return true
	}
	best := route{}
	for _, r := range n.routes {
		if r.link == l && r.To.Contains(via) && (!best.To.IsValid() || r.To.Bits() > best.To.Bits()) {
			best = r
		}
	}
	return best.To.IsValid() && !best.Via.IsValid()
}
