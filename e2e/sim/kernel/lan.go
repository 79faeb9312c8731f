package kernel

import (
	"iter"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// A LAN is the layer-2 network that hosts share by their NICs. Set Changed before anything runs.
type LAN struct {
	// Changed is called after each change of who would answer or whose frames pass. It is called without a lock, by whoever made
	// the change, also by several at once.
	Changed func()

	dir string // of the namespaces' files

	mu      sync.Mutex // of all state of all hosts; never held across a wait
	hosts   map[string]*Host
	byInode map[uint64]*Namespace
	made    uint64 // namespaces
	index   map[netip.Addr][]*link
	changed bool
	after   []func() // what waits for mu to be released: events
}

// NewLAN makes a network without hosts. dir is where the files of network namespaces are to be, best on a tmpfs.
func NewLAN(dir string) *LAN {
	return &LAN{dir: dir, hosts: map[string]*Host{}, byInode: map[uint64]*Namespace{}, index: map[netip.Addr][]*link{}}
}

// An Answer is one that would answer ARP or neighbour discovery for an address.
type Answer struct {
	Host      *Host
	Namespace *Namespace // nil: the host itself
	Port      string     // of the namespace, by which it answers
	MAC       net.HardwareAddr
	Passes    bool // the fence lets its frames pass now
	Cut       bool // only its own host hears it
}

// Answers tells who would answer for an address now: the containers and hosts that have it and reach a wire, each in the order in
// which they got it. A container answers for an IPv4 address over each of its interfaces that is up, as Linux does (arp_ignore
// 0). A host that sleeps answers nothing.
func (l *LAN) Answers(a netip.Addr) (all []Answer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, i := range l.index[a] {
		for by := range i.ways(a) {
			all = append(all, by.answer(a))
		}
	}
	return all
}

// ways are the links over which the one who has an address on this link answers for it: first this link.
func (l *link) ways(a netip.Addr) iter.Seq[*link] {
	return func(yield func(*link) bool) {
		switch {
		case l.host.sleeps():
			return
		case l.ns == nil:
			if l.up || l.host.receives(a, l) != nil {
				yield(l)
			}
			return
		case l.up && l.peer != nil && l.peer.wired() && !yield(l) || a.Is6():
			return
		}
		for _, other := range l.ns.links.ordered() {
			if other != l && other.up && other.peer != nil && other.peer.wired() && !yield(other) {
				return
			}
		}
	}
}

// answer is what a link answers for an address.
func (l *link) answer(of netip.Addr) Answer {
	a := Answer{Host: l.host, Namespace: l.ns, MAC: l.mac, Passes: true, Cut: l.host.cut}
	if l.ns != nil {
		a.Port, a.Passes = l.peer.name, l.host.nft.sends(l.peer.name, l.mac, of, time.Now())
	}
	return a
}

// Addresses yields each address that a live namespace has, but those of loopback, wired or not. A judge may ask the LAN meanwhile.
func (l *LAN) Addresses() iter.Seq2[*Namespace, netip.Addr] {
	type pair struct {
		ns *Namespace
		a  netip.Addr
	}
	return func(yield func(*Namespace, netip.Addr) bool) {
		var all []pair
		l.mu.Lock()
		for a, links := range l.index {
			for _, i := range links {
				if i.ns != nil {
					all = append(all, pair{i.ns, a})
				}
			}
		}
		l.mu.Unlock()
		slices.SortFunc(all, func(p, q pair) int {
			if c := p.a.Compare(q.a); c != 0 {
				return c
			}
			return int(p.ns.cookie) - int(q.ns.cookie)
		})
		for _, p := range all {
			if !yield(p.ns, p.a) {
				return
			}
		}
	}
}

// Cut takes a host off the network, or puts it back: no other host hears it or is heard by it.
func (l *LAN) Cut(h *Host, on bool) {
	l.change(func() { h.cut, l.changed = on, l.changed || h.cut != on })
}

// change runs f alone, and tells of what it has changed when others may go on.
func (l *LAN) change(f func()) {
	changed, after := l.alone(f)
	for _, tell := range after {
		tell()
	}
	if changed && l.Changed != nil {
		l.Changed()
	}
}

func (l *LAN) alone(f func()) (changed bool, after []func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
	changed, after = l.changed, l.after
	l.changed, l.after = false, nil
	return changed, after
}

// note puts an address of a link into the index, or takes it out.
func (l *LAN) note(i *link, a netip.Addr, has bool) {
	if i.kind == loopback {
		return
	}
	l.changed = true
	if has {
		l.index[a] = append(l.index[a], i)
		return
	}
	at := slices.Index(l.index[a], i)
	if l.index[a] = slices.Delete(l.index[a], at, at+1); len(l.index[a]) == 0 {
		delete(l.index, a)
	}
}
