package kernel

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/netops"
)

// EnsureBridge makes a bridge, or adds what an existing one lacks.
func (k *Kernel) EnsureBridge(b netops.Bridge) (state netops.BridgeState, err error) {
	err = k.do("EnsureBridge", func() (err error) { state, err = k.ensureBridge(b); return err })
	if err != nil {
		return netops.BridgeState{}, err
	}
	return state, nil
}

func (k *Kernel) ensureBridge(b netops.Bridge) (state netops.BridgeState, err error) {
	if b.Name == "" || len(b.Name) >= unix.IFNAMSIZ || strings.HasPrefix(b.Name, netops.Prefix) {
		return state, fmt.Errorf("want a name of 1 to %d bytes that does not begin with %q", unix.IFNAMSIZ-1, netops.Prefix)
	}
	uplink, err := k.findUplink(b)
	if err != nil {
		return state, err
	}
	on, made, err := k.findOrMake(b, uplink)
	if err != nil {
		return state, err
	}
	r := k.bridges[b.Name]
	if r == nil {
		r = &remembered{}
		k.bridges[b.Name] = r
	}
	r.want = b
	if err = k.equip(on, uplink, b, r); err != nil && made {
		on.remove()
	}
	if r.whole = err == nil; err != nil {
		return state, err
	}
	r.mac = on.mac
	return netops.BridgeState{MAC: on.mac.String(), Index: on.index}, nil
}

// findOrMake answers with the bridge, and whether it was made just now.
func (k *Kernel) findOrMake(b netops.Bridge, uplink *link) (on *link, made bool, err error) {
	if on = k.host.links[b.Name]; on != nil && on.kind != bridge {
		return nil, false, fmt.Errorf("a link of that name exists, of kind %q: want a bridge, or another name", on.told())
	}
	if on != nil {
		return on, false, nil
	}
	mtu, mac := cmp.Or(b.MTU, ordinary), macOf(0xba, k.host.Name, b.Name)
	if r := k.bridges[b.Name]; r != nil && r.mac != nil {
		mac = r.mac
	}
	if uplink != nil {
		mtu, mac = uplink.mtu, uplink.mac
	}
	if mtu < minimum || mtu > maximum {
		return nil, false, fmt.Errorf("make it: %w", unix.EINVAL)
	}
	on = k.host.add(b.Name, bridge)
	on.mac, on.mtu, on.alias = mac, mtu, ownBridge
	return on, true, nil
}

// equip gives a bridge what it lacks.
func (k *Kernel) equip(on, uplink *link, b netops.Bridge, r *remembered) error {
	if own := on.alias == ownBridge && b.Uplink == ""; b.MTU > on.mtu || b.MTU != 0 && b.MTU < on.mtu && own {
		if err := on.setMTU(b.MTU); err != nil {
			return err
		}
	}
	if !on.up { // with it the kernel took away what led over it
		on.setUp(true)
		for _, a := range r.had {
			if !a.ours && !on.has(a.Prefix) {
				_ = on.give(a) // what the kernel refuses is left out
			}
		}
	}
	if uplink != nil {
		on.withdraw(func(a address) bool { return a.ours && !slices.Contains(b.Addresses, a.Prefix) })
		if err := enslave(uplink, on); err != nil {
			return fmt.Errorf("uplink %s: %w", b.Uplink, err)
		}
	}
	for _, want := range b.Addresses {
		if i := slices.IndexFunc(on.addresses, func(a address) bool { return a.Prefix == want }); i >= 0 {
			on.addresses[i].ours = true
		} else if err := on.giveLength(address{want, true}, func(a address) bool { return a.ours }); err != nil {
			return err
		}
	}
	for _, p := range slices.Concat(b.Addresses, b.Masquerade) {
		f := familyOf(p.Addr())
		if !k.host.forwards[f] {
			k.host.setForwarding(f, true)
		}
		on.forwards[f] = true
	}
	for _, p := range b.Masquerade {
		k.host.masquerade[p.Masked()] = true
	}
	return nil
}

func (k *Kernel) findUplink(b netops.Bridge) (*link, error) {
	if b.Uplink == "" {
		return nil, nil
	}
	l := k.host.links[b.Uplink]
	if r := k.bridges[b.Name]; l == nil && r != nil && r.want.Uplink == b.Uplink && r.whole {
		l = k.host.uplinkOf(b.Name)
	}
	switch {
	case l == nil:
		return nil, fmt.Errorf("uplink %s does not exist: want a NIC of this host", b.Uplink)
	case l.mtu < b.MTU:
		return nil, fmt.Errorf("uplink %s has MTU %d: want at least the bridge's, %d", b.Uplink, l.mtu, b.MTU)
	}
	return l, nil
}

// uplinkOf is the port whose MAC the bridge has; nil: none.
func (h *Host) uplinkOf(name string) *link {
	on := h.links[name]
	if on == nil {
		return nil
	}
	for _, p := range on.ports() {
		if p.mac.String() == on.mac.String() && !p.isPort() {
			return p
		}
	}
	return nil
}

// Uplink is the name of a bridge's uplink; none, or no such bridge: empty.
func (k *Kernel) Uplink(name string) (uplink string, err error) {
	err = k.do("Uplink", func() error {
		if _, err := k.host.links.find(name); err != nil && !errors.Is(err, unix.ENODEV) {
			return err
		}
		if l := k.host.uplinkOf(name); l != nil {
			uplink = l.name
		}
		return nil
	})
	return uplink, err
}

// enslave makes the NIC a port of the bridge, and moves what the host has on it.
func enslave(l, on *link) error {
	if l.master != nil && l.master != on {
		return fmt.Errorf("it is a port of another link already (index %d)", l.master.index)
	}
	move := moving(l, on)
	for _, a := range move {
		if a.Addr().Is6() && on.mtu < minimumV6 {
			return errors.New("the bridge has no IPv6")
		}
	}
	if local := l.local && on.mtu >= minimumV6; local || len(move) > 0 || l.master == nil || on.mac.String() != l.mac.String() {
		l.local, l.quiet = false, true
	}
	if on.mac = l.mac; l.master == nil {
		l.join(on)
		l.setUp(true)
	}
	for _, a := range move {
		if i := slices.IndexFunc(on.addresses, func(b address) bool { return b.Prefix == a.Prefix }); i >= 0 {
			on.addresses[i] = a // it takes the other's place
		} else {
			_ = on.give(a) // it does not have it, and speaks IPv6
		}
	}
	l.take(func(a address) bool { return slices.Contains(move, a) })
	return nil
}

// moving are the addresses of a NIC that its bridge is to have: see netops/moving.go.
func moving(l, on *link) (move []address) {
	lies := func(a address, among []address) bool {
		return slices.ContainsFunc(among, func(other address) bool {
			return !other.IsSingleIP() && other.Prefix != a.Prefix && other.Contains(a.Addr())
		})
	}
	whole := l.master != on || slices.ContainsFunc(l.addresses, func(a address) bool { return on.has(a.Prefix) })
	for _, a := range l.addresses {
		floats := a.IsSingleIP() && (lies(a, l.addresses) || lies(a, on.addresses))
		if on.has(a.Prefix) || !floats && (whole || !lies(a, on.addresses)) {
			move = append(move, a)
		}
	}
	return move
}

// Withdraw takes off this host's bridges what EnsureBridge gave them and keep does not want any more.
func (k *Kernel) Withdraw(keep func(netip.Prefix) bool, former ...netops.Placed) error {
	return k.do("Withdraw", func() error {
		for _, l := range k.host.links.ordered() {
			if l.kind != bridge {
				continue
			}
			gone := func(a address) bool {
				return !keep(a.Prefix) && (a.ours || slices.Contains(former, netops.Placed{Bridge: l.name, Prefix: a.Prefix}))
			}
			l.withdraw(gone)
		}
		return nil
	})
}

// withdraw takes addresses off a bridge without taking others with them.
func (l *link) withdraw(gone func(address) bool) {
	if slices.ContainsFunc(l.addresses, gone) {
		l.promotes = true
		l.take(gone)
	}
}

// Retire takes off the host what EnsureBridge gave it and none of the bridges that are in use needs any more.
func (k *Kernel) Retire(used []netops.Bridge) error {
	return k.do("Retire", func() error {
		maps.DeleteFunc(k.host.masquerade, func(pool netip.Prefix, _ bool) bool {
			return !slices.ContainsFunc(used, func(b netops.Bridge) bool {
				return slices.ContainsFunc(b.Masquerade, func(p netip.Prefix) bool { return p.Masked() == pool })
			})
		})
		return nil
	})
}
