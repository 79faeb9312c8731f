package netops

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A Bridge is what joins ports on this host, as it is to be.
type Bridge struct {
	Name       string
	Uplink     string         // a NIC of the host that becomes its port, or none
	Addresses  []netip.Prefix // that the host has on it: a pool's gateway, where there is no other
	Subnets    []netip.Prefix // that lie behind it though none of Addresses says so: the host gets a route to each
	Masquerade []netip.Prefix // what leaves the pools of these CIDRs takes the host's address
	MTU        int            // bytes, that its ports are to have room for; 0: whatever it has
}

// BridgeState is what the kernel made of a Bridge.
type BridgeState struct {
	MAC   string
	Index int
}

// EnsureBridge makes a bridge, or adds what an existing one lacks; it takes nothing away (see Withdraw). The uplink's addresses and
// routes move to the bridge, and the host stays reachable meanwhile; where one cannot move, all is as it was before. What
// the host had on a bridge that has ended meanwhile comes back with it.
// Addresses or Masquerade make the host forward packets. It costs nothing while nothing has changed.
func (k *Kernel) EnsureBridge(b Bridge) (BridgeState, error) {
	if state, ok := k.bridges.recall(b); ok {
		return state, nil
	}
	k.bridges.ensuring.Lock()
	defer k.bridges.ensuring.Unlock()
	state, ok := k.bridges.recall(b)
	if ok { // another call has done it meanwhile
		return state, nil
	}
	err := k.host.with(func(s *socket) (err error) { state, err = k.ensureBridge(s, b); return err })
	if err != nil {
		return BridgeState{}, fmt.Errorf("netops: bridge %q: %w", b.Name, err)
	}
	return state, nil
}

func (k *Kernel) ensureBridge(s *socket, b Bridge) (state BridgeState, err error) {
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
				err = errors.Join(err, k.remove(link{name: b.Name}))
			}
		}()
	}
	if err != nil {
		return state, err
	}
	e, first := k.bridges.watch(b, bridge.index, uplink.index)
	defer func() { k.bridges.settle(e, state, err) }()

	if err = s.do(bridgeChanges(b, bridge, first && !made)...); err != nil {
		return state, err
	}
	if !bridge.up() { // with it the kernel took away what led over it
		giveBack(s, e.had, bridge)
	}
	if b.Uplink != "" {
		if err = k.enslave(s, uplink, bridge); err != nil {
			return state, fmt.Errorf("uplink %s: %w", b.Uplink, err)
		}
		bridge.mac = uplink.mac
	}
	if err = k.giveAddresses(s, b, bridge); err != nil {
		return state, err
	}
	if err = giveSubnets(s, b, bridge); err != nil {
		return state, err
	}
	if len(b.Addresses)+len(b.Masquerade) > 0 {
		if err = within(k.home, func() error { return forward(b.Name, slices.Concat(b.Addresses, b.Masquerade)) }); err != nil {
			return state, err
		}
	}
	if err = k.table.masquerade(b.Masquerade); err != nil {
		return state, err
	}
	return BridgeState{MAC: bridge.mac.String(), Index: bridge.index}, nil
}

// findOrMake answers with the bridge, up or not, and whether it was made just now.
func (k *Kernel) findOrMake(s *socket, b Bridge, uplink link) (bridge link, made bool, err error) {
	bridge, err = linkNamed(s, b.Name)
	switch {
	case err == nil && bridge.kind != "bridge":
		return bridge, false, fmt.Errorf("a link of that name exists, of kind %q: want a bridge, or another name", bridge.kind)
	case err == nil:
		return bridge, false, nil
	case !errors.Is(err, unix.ENODEV):
		return bridge, false, err
	}
	mac := uplink.mac
	if mac == nil {
		mac = k.bridges.formerMAC(b.Name)
	}
	mtu := uplink.mtu // the host's own, which a pool with a smaller one does not change
	if mtu == 0 {
		mtu = cmp.Or(b.MTU, defaultMTU)
	}
	if err := s.do(makeBridge(b.Name, mac, mtu)); err != nil {
		return bridge, false, err
	}
	if b.Uplink == "" { // what comes from containers is not to configure the host
		if err := within(k.home, func() error { return refuseAdvertisements(b.Name) }); err != nil {
			return bridge, true, err
		}
	}
	pin := changeLink(0, "set its MTU", 0, textAttr(unix.IFLA_IFNAME, b.Name), numberAttr(unix.IFLA_MTU, mtu),
		nl.NewRtAttr(unix.IFLA_IFALIAS, []byte(ownBridge)))
	if err := s.do(pin); err != nil {
		return bridge, true, err
	}
	bridge, err = linkNamed(s, b.Name)
	return bridge, true, err
}

const defaultMTU = 1500

// ownBridge is the alias of a bridge that was made here: its MTU follows the pools'. Another's is only ever raised.
const ownBridge = "berth: bridge"

// makeBridge asks for a bridge that forwards at once and whose MAC stays while ports come and go. Its ports get all
// multicast: neighbour discovery is not to depend on a querier in the network (RFC 4541, section 3).
func makeBridge(name string, mac net.HardwareAddr, mtu int) request {
	settings := nested(unix.IFLA_INFO_DATA,
		numberAttr(nl.IFLA_BR_FORWARD_DELAY, 0),
		numberAttr(nl.IFLA_BR_STP_STATE, 0),
		nl.NewRtAttr(nl.IFLA_BR_MCAST_SNOOPING, []byte{0}))
	return ask(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, "make it", ifInfo(0, 0),
		textAttr(unix.IFLA_IFNAME, name),
		nl.NewRtAttr(unix.IFLA_ADDRESS, mac),
		// Another MTU than wanted: only a later change keeps the kernel from adjusting it to the ports'.
		numberAttr(unix.IFLA_MTU, mtu^1),
		nested(unix.IFLA_LINKINFO, nl.NewRtAttr(unix.IFLA_INFO_KIND, []byte("bridge")), settings))
}

// bridgeChanges are what an existing bridge needs. Its other settings are for whoever made it to decide. To pin its MAC
// is to set what it has already: from then on it does not change with the ports.
func bridgeChanges(b Bridge, bridge link, pin bool) (changes []request) {
	if pin {
		changes = append(changes, changeLink(bridge.index, "pin its MAC", 0, nl.NewRtAttr(unix.IFLA_ADDRESS, bridge.mac)))
	}
	if own := bridge.alias == ownBridge && b.Uplink == ""; b.MTU > bridge.mtu || b.MTU != 0 && b.MTU < bridge.mtu && own {
		what := fmt.Sprintf("set its MTU to %d", b.MTU)
		changes = append(changes, changeLink(bridge.index, what, 0, numberAttr(unix.IFLA_MTU, b.MTU)))
	}
	if !bridge.up() {
		changes = append(changes, changeLink(bridge.index, "bring it up", unix.IFF_UP))
	}
	return changes
}

// giveAddresses adds those addresses that the bridge lacks, and marks them as ours, for Withdraw.
func (k *Kernel) giveAddresses(s *socket, b Bridge, bridge link) error {
	held, err := addressesOf(s, unix.AF_UNSPEC, bridge.index)
	if err != nil {
		return err
	}
	for _, want := range b.Addresses {
		there := slices.IndexFunc(held, func(a address) bool { return a.prefix == want })
		if there >= 0 && (held[there].proto == placed || k.forgetful) {
			continue
		}
		if want.Addr().Is6() {
			if err := within(k.home, func() error { return allowV6(b.Name) }); err != nil {
				return err
			}
		}
		given := plain(want)
		given.proto = placed
		put := putAddress(bridge.index, given, fmt.Sprintf("add address %v", want))
		if there >= 0 {
			put.Flags = put.Flags&^unix.NLM_F_EXCL | unix.NLM_F_REPLACE
		}
		if err := s.do(put); err != nil && !already(put, err) {
			return err
		}
	}
	held, err = addressesOf(s, unix.AF_UNSPEC, bridge.index)
	// A kernel that does not remember who gave an address is not told again and again.
	k.forgetful = slices.ContainsFunc(held, func(a address) bool { return slices.Contains(b.Addresses, a.prefix) && a.proto == 0 })
	return err
}

// giveSubnets adds those routes over the bridge that the host lacks.
func giveSubnets(s *socket, b Bridge, bridge link) error {
	for _, subnet := range b.Subnets {
		put := putRoute(bridge.index, subnet, netip.Addr{}, fmt.Sprintf("add route to %v", subnet))
		if err := s.do(put); err != nil && !already(put, err) {
			return err
		}
	}
	return nil
}

// randomMAC is locally administered and unicast, and begins as no container's does.
func randomMAC() net.HardwareAddr {
	mac := make(net.HardwareAddr, 6)
	_, _ = rand.Read(mac)
	mac[0] = 0xba
	return mac
}
