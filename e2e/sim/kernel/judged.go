package kernel

import (
	"iter"
	"net/netip"
)

// Twice yields the addresses that several links have, with those who answer for them.
func (l *LAN) Twice() iter.Seq2[netip.Addr, []Answer] {
	return func(yield func(netip.Addr, []Answer) bool) {
		var all []netip.Addr
		l.mu.Lock()
		for a, links := range l.index {
			if len(links) > 1 && !a.IsLoopback() {
				all = append(all, a)
			}
		}
		l.mu.Unlock()
		for _, a := range all {
			if !yield(a, l.Answers(a)) {
				return
			}
		}
	}
}

// Has reports whether the namespace has an address.
func (n *Namespace) Has(a netip.Addr) bool {
	n.host.lan.mu.Lock()
	defer n.host.lan.mu.Unlock()
	for _, l := range n.links {
		for _, has := range l.addresses {
			if has.Addr() == a {
				return true
			}
		}
	}
	return false
}

// Ports are how many ports of containers the host has.
func (h *Host) Ports() (n int) {
	h.lan.mu.Lock()
	defer h.lan.mu.Unlock()
	for _, l := range h.links {
		if l.isPort() {
			n++
		}
	}
	return n
}

// Addresses are those of the namespace, but for loopback's.
func (n *Namespace) Addresses() (all []netip.Addr) {
	n.host.lan.mu.Lock()
	defer n.host.lan.mu.Unlock()
	for _, l := range n.links.ordered() {
		for _, has := range l.addresses {
			if !has.Addr().IsLoopback() && !has.Addr().IsLinkLocalUnicast() {
				all = append(all, has.Addr())
			}
		}
	}
	return all
}
