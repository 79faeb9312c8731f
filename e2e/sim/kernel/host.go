package kernel

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/berth-ipam/berth/netops"
)

// A Host is a machine with a NIC "eth0" on the LAN. What its kernel has outlives the processes that open it.
type Host struct {
	Name string

	lan    *LAN
	faults Faults

	boots  int
	cut    bool
	asleep time.Time // until then it sleeps

	kernels    []*Kernel // that are open
	links      links
	made       int // links
	forwards   [2]bool
	masquerade map[netip.Prefix]bool
	routes     netops.Routing // between nodes
	nft        table
	expiry     *time.Timer // of the slot of the fence that closes next
	namespaces map[*Namespace]bool
	ids        map[int]*Namespace
	own        map[string][]netip.Prefix // what its configuration gives its NICs at a boot
}

// Host makes a machine, or is the one of that name.
func (l *LAN) Host(name string) *Host {
	l.mu.Lock()
	defer l.mu.Unlock()
	if h := l.hosts[name]; h != nil {
		return h
	}
	h := &Host{Name: name, lan: l, own: map[string][]netip.Prefix{"eth0": nil}}
	l.hosts[name] = h
	h.boot()
	return h
}

// Boot identifies the present boot, as an agent's options name it.
func (h *Host) Boot() string {
	h.lan.mu.Lock()
	defer h.lan.mu.Unlock()
	return fmt.Sprintf("%s/%d", h.Name, h.boots)
}

// boot begins with nothing but the NICs.
func (h *Host) boot() {
	h.boots++
	h.links, h.made, h.forwards = links{}, 0, [2]bool{}
	h.nft, h.masquerade, h.routes = table{}, map[netip.Prefix]bool{}, netops.Routing{}
	h.namespaces, h.ids = map[*Namespace]bool{}, map[int]*Namespace{}
	lo := h.add("lo", loopback)
	lo.mtu, lo.up = 65536, true
	lo.addresses = loopbacks()
	for _, name := range slices.Sorted(maps.Keys(h.own)) {
		h.plug(name)
	}
}

func (h *Host) add(name, kind string) *link {
	h.made++
	l := &link{host: h, name: name, kind: kind, index: h.made, mtu: ordinary, forwards: h.forwards}
	h.links[name] = l
	return l
}

func (h *Host) plug(name string) {
	l := h.add(name, nic)
	l.mac = macOf(2, h.Name, name)
	l.setUp(true)
	for _, p := range h.own[name] {
		_ = l.give(address{Prefix: p}) // it has none yet
	}
}

// PlugNIC gives the host another NIC, with addresses that its configuration gives it at each boot.
func (h *Host) PlugNIC(name string, addresses ...netip.Prefix) {
	h.lan.change(func() {
		h.own[name] = addresses
		if old := h.links[name]; old != nil {
			old.remove()
		}
		h.plug(name)
	})
}

// Reboot ends the host's namespaces, links, fence and processes, and begins anew.
func (h *Host) Reboot() {
	h.lan.change(func() {
		byAge := func(a, b *Namespace) int { return cmp.Compare(a.cookie, b.cookie) }
		for _, n := range slices.SortedFunc(maps.Keys(h.namespaces), byAge) {
			n.end()
		}
		for _, l := range h.links.ordered() {
			l.remove()
		}
		for _, k := range h.kernels {
			k.shut()
		}
		h.kernels, h.asleep = nil, time.Time{}
		h.boot()
		h.lan.changed = true
	})
}

// Sleep has the host sleep for a time from now on. Nothing of it answers meanwhile, calls of its kernel wait, and the timers of its
// fence stand still, as the kernel's own do (jiffies): what was open is open for as long afterwards.
func (h *Host) Sleep(d time.Duration) {
	h.lan.change(func() {
		now := time.Now()
		if h.asleep.Before(now) {
			h.asleep = now
		}
		h.asleep = h.asleep.Add(d)
		h.nft.postpone(d)
		h.plan()
		h.lan.changed = true
		time.AfterFunc(h.asleep.Sub(now), func() { h.lan.change(func() { h.lan.changed = true }) })
	})
}

func (h *Host) sleeps() bool { return time.Now().Before(h.asleep) }

// awake waits until the host is awake.
func (h *Host) awake() {
	for {
		h.lan.mu.Lock()
		left := time.Until(h.asleep)
		h.lan.mu.Unlock()
		if left <= 0 {
			return
		}
		time.Sleep(left)
	}
}

// SetAddress gives a link of the host an address, or takes it off, as another program would.
func (h *Host) SetAddress(name string, p netip.Prefix, on bool) error {
	return h.change(name, func(l *link) error {
		if on {
			return l.give(address{Prefix: p})
		}
		l.take(func(a address) bool { return a.Prefix == p })
		return nil
	})
}

// SetLinkUp brings a link of the host up or down.
func (h *Host) SetLinkUp(name string, up bool) error {
	return h.change(name, func(l *link) error { l.setUp(up); return nil })
}

// SetMaster makes a link of the host a bridge's port; an empty name: nobody's.
func (h *Host) SetMaster(name, of string) error {
	return h.change(name, func(l *link) error {
		if of == "" {
			l.join(nil)
			return nil
		}
		b, err := h.links.find(of)
		if err == nil {
			l.join(b)
		}
		return err
	})
}

// SetAlias writes other words onto a link of the host, as another program would.
func (h *Host) SetAlias(name, words string) error {
	return h.change(name, func(l *link) error { l.alias, l.words = words, ""; return nil })
}

// SetMTU changes the MTU of a link of the host.
func (h *Host) SetMTU(name string, mtu int) error {
	return h.change(name, func(l *link) error { return l.setMTU(mtu) })
}

// DeleteLink ends a link of the host, as another program would.
func (h *Host) DeleteLink(name string) error {
	return h.change(name, func(l *link) error {
		if l.isPort() {
			h.tell(netops.Event{Kind: netops.PortGone, Port: name}, nil)
		}
		l.remove()
		return nil
	})
}

// change has somebody outside change a link.
func (h *Host) change(name string, f func(*link) error) (err error) {
	h.lan.change(func() {
		var l *link
		if l, err = h.links.find(name); err == nil {
			err = f(l)
			h.lan.changed = true
			h.tell(netops.Event{Kind: netops.HostChanged}, nil)
		}
	})
	if err != nil {
		return fmt.Errorf("host %s: %w", h.Name, err)
	}
	return nil
}

// FlushTable removes the fence's table, as another program would: nothing is fenced until EnsureTable.
func (h *Host) FlushTable() {
	h.lan.change(func() {
		h.nft = table{}
		h.lan.changed = true
		h.tell(netops.Event{Kind: netops.TableChanged}, nil)
	})
}

// FlushMasquerade removes the rules of pools that masquerade, as another program would.
func (h *Host) FlushMasquerade() {
	h.lan.change(func() {
		clear(h.masquerade)
		h.tell(netops.Event{Kind: netops.HostChanged}, nil)
	})
}

// StopForwarding has the host forward nothing any more, as another program would.
func (h *Host) StopForwarding() {
	h.lan.change(func() {
		for f := range families {
			h.setForwarding(f, false)
		}
		h.tell(netops.Event{Kind: netops.HostChanged}, nil)
	})
}

// setForwarding sets a family's for all links.
func (h *Host) setForwarding(family int, on bool) {
	h.forwards[family] = on
	for _, l := range h.links {
		l.forwards[family] = on
	}
}
