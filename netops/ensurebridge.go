package netops

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/netops/rtnl"
	"github.com/berth-ipam/berth/netops/sysctl"
)

// EnsureBridge makes a bridge, or adds what an existing one lacks; it takes nothing away (see Withdraw), but for an address
// that it gives with another prefix length. The uplink's addresses and
// routes move to the bridge, and the host stays reachable meanwhile; where one cannot move, all is as it was before. What
// the host had on a bridge that has ended meanwhile comes back with it.
// Addresses or Masquerade make the host forward packets. It costs nothing while nothing has changed.
func (k *Kernel) EnsureBridge(b Bridge) (BridgeState, error) {
	if state, ok := k.bridges.recall(b); ok {
		return state, nil
	}
	defer k.bridges.alone()()
	state, ok := k.bridges.recall(b)
	if ok { // another call has done it meanwhile
		return state, nil
	}
	err := k.host.With(func(s *rtnl.Socket) (err error) { state, err = k.ensureBridge(s, b); return err })
	if err != nil {
		return BridgeState{}, fmt.Errorf("netops: bridge %q: %w", b.Name, err)
	}
	return state, nil
}

func (k *Kernel) ensureBridge(s *rtnl.Socket, b Bridge) (state BridgeState, err error) {
	if b.Name == "" || len(b.Name) >= unix.IFNAMSIZ || strings.HasPrefix(b.Name, Prefix) {
		return state, fmt.Errorf("want a name of 1 to %d bytes that does not begin with %q, as ports' do", unix.IFNAMSIZ-1, Prefix)
	}
	uplink, err := findUplink(s, b, k.bridges.hadUplink(b))
	if err != nil {
		return state, err
	}
	bridge, made, err := k.findOrMake(s, b, uplink)
	if made {
		defer func() {
			if err != nil {
				err = errors.Join(err, k.remove(rtnl.Link{Name: b.Name}))
			}
		}()
	}
	if err != nil {
		return state, err
	}
	e, first := k.bridges.watch(b, bridge.Index, uplink.Index)
	defer func() { k.bridges.settle(e, state, err) }()

	if err = s.Do(bridgeChanges(b, bridge, first && !made)...); err != nil {
		return state, err
	}
	if !bridge.Up() { // with it the kernel took away what led over it
		giveBack(s, k.bridges.held(e), bridge)
	}
	if b.Uplink != "" {
		// A gateway that this node gave its bridge is a router's elsewhere now: two must not answer for it.
		if err = k.withdraw(s, bridge, func(a rtnl.Address) bool {
			return a.Proto == rtnl.OurProto && !slices.Contains(b.Addresses, a.Prefix)
		}); err != nil {
			return state, err
		}
		if err = k.enslave(s, uplink, bridge); err != nil {
			return state, fmt.Errorf("uplink %s: %w", b.Uplink, err)
		}
		bridge.MAC = uplink.MAC
	}
	held, err := k.giveAddresses(s, b, bridge)
	if err != nil {
		return state, err
	}
	if err = giveSubnets(s, b, bridge, held); err != nil {
		return state, err
	}
	if len(b.Addresses)+len(b.Masquerade) > 0 {
		if err = rtnl.Within(k.home, func() error { return k.settings.Forward(b.Name, slices.Concat(b.Addresses, b.Masquerade)) }); err != nil {
			return state, err
		}
	}
	if err = k.Masquerade(b.Masquerade, b.Cluster); err != nil {
		return state, err
	}
	if err = k.passBridged(b); err != nil {
		return state, err
	}
	return BridgeState{MAC: bridge.MAC.String(), Index: bridge.Index}, nil
}

// findOrMake answers with the bridge, up or not, and whether it was made just now.
func (k *Kernel) findOrMake(s *rtnl.Socket, b Bridge, uplink rtnl.Link) (bridge rtnl.Link, made bool, err error) {
	bridge, err = rtnl.LinkNamed(s, b.Name)
	switch {
	case err == nil && bridge.Kind != "bridge":
		return bridge, false, fmt.Errorf("a link of that name exists, of kind %q: want a bridge, or another name", bridge.Kind)
	case err == nil:
		return bridge, false, nil
	case !errors.Is(err, unix.ENODEV):
		return bridge, false, err
	}
	mac := uplink.MAC
	if mac == nil {
		mac = k.bridges.formerMAC(b.Name)
	}
	mtu := uplink.MTU // the host's own, which a pool with a smaller one does not change
	if mtu == 0 {
		mtu = cmp.Or(b.MTU, UsualMTU)
	}
	if err := s.Do(rtnl.MakeBridge(b.Name, mac, mtu)); err != nil {
		return bridge, false, err
	}
	if b.Uplink == "" { // what comes from containers is not to configure the host
		if err := rtnl.Within(k.home, func() error { return sysctl.RefuseAdvertisements(b.Name) }); err != nil {
			return bridge, true, err
		}
	}
	pin := rtnl.ChangeLink(0, "set its MTU", 0, rtnl.WithName(b.Name), rtnl.WithMTU(mtu), rtnl.WithAlias(ownBridge))
	if err := s.Do(pin); err != nil {
		return bridge, true, err
	}
	bridge, err = rtnl.LinkNamed(s, b.Name)
	return bridge, true, err
}

// UsualMTU is what a bridge or a routed port has for which no MTU was asked, in bytes: Ethernet's (IEEE 802.3).
const UsualMTU = 1500

// ownBridge is the alias of a bridge that was made here: its MTU follows the pools'. Another's is only ever raised.
const ownBridge = "berth: bridge"

// bridgeChanges are what an existing bridge needs. Its other settings are for whoever made it to decide. To pin its MAC
// is to set what it has already: from then on it does not change with the ports. What the fence does not see is not to tell the bridge
// where a MAC is.
func bridgeChanges(b Bridge, bridge rtnl.Link, pin bool) (changes []rtnl.Request) {
	if pin {
		changes = append(changes, rtnl.ChangeLink(bridge.Index, "pin its MAC", 0, rtnl.WithMAC(bridge.MAC)),
			rtnl.LearnNothingFromLinkLocalGroups(bridge.Index))
	}
	if own := bridge.Alias == ownBridge && b.Uplink == ""; b.MTU > bridge.MTU || b.MTU != 0 && b.MTU < bridge.MTU && own {
		what := fmt.Sprintf("set its MTU to %d", b.MTU)
		changes = append(changes, rtnl.ChangeLink(bridge.Index, what, 0, rtnl.WithMTU(b.MTU)))
	}
	if !bridge.Up() {
		changes = append(changes, rtnl.ChangeLink(bridge.Index, "bring it up", unix.IFF_UP))
	}
	return changes
}

// giveAddresses adds those addresses that the bridge lacks, and marks them as ours, for Withdraw.
// It returns all that the bridge has then.
func (k *Kernel) giveAddresses(s *rtnl.Socket, b Bridge, bridge rtnl.Link) (held []rtnl.Address, err error) {
	held, err = rtnl.AddressesOf(s, unix.AF_UNSPEC, bridge.Index)
	if err != nil {
		return nil, err
	}
	for _, want := range b.Addresses {
		there := slices.IndexFunc(held, func(a rtnl.Address) bool { return a.Prefix == want })
		if there >= 0 && (held[there].Proto == rtnl.OurProto || k.forgetful) {
			continue
		}
		if want.Addr().Is6() {
			if err := rtnl.Within(k.home, func() error { return sysctl.AllowV6(b.Name) }); err != nil {
				return nil, err
			}
		}
		given := rtnl.PlainAddress(want)
		given.Proto = rtnl.OurProto
		put := rtnl.PutAddress(bridge.Index, given, fmt.Sprintf("add address %v", want))
		if there >= 0 {
			put.Replacing()
		}
		if err := k.giveLength(s, want, bridge, held, put); err != nil {
			return nil, err
		}
	}
	held, err = rtnl.AddressesOf(s, unix.AF_UNSPEC, bridge.Index)
	// A kernel that does not store the origin of an address is not asked to again and again.
	k.forgetful = slices.ContainsFunc(held, func(a rtnl.Address) bool { return slices.Contains(b.Addresses, a.Prefix) && a.Proto == 0 })
	return held, err
}
