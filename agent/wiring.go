package agent

import (
	"context"
	"errors"
	"net"
	"net/netip"

	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/netops"
)

// defaultBridge is the bridge of a network that names none.
const defaultBridge = "berth0"

// attached is what the kernel made of an add.
type attached struct {
	mac, hostMAC, bridgeMAC string
	mtu                     int
	namespaceID             int // the kernel's, plus one; 0: none
	inode                   uint64
}

// wiring is what the kernel is to be told for an add, by its pool's present configuration.
func wiring(add *add, e *journal.Entry) journal.Wiring {
	w := journal.Wiring{
		Port:   netops.PortName(e.Attachment.Network, e.Attachment.Container, e.Attachment.Interface),
		Bridge: add.Bridge, Uplink: add.Uplink, IPMasq: add.IPMasq, MTU: add.pool.MTU, MAC: add.mac.String(),
		Gateways: gateways(add.pool), Routes: routes(add.pool),
	}
	if w.Bridge == "" {
		w.Bridge = defaultBridge
	}
	if w.MAC == "" {
		w.MAC = netops.MACFor(e.Addresses).String()
	}
	return w
}

func gateways(p *allocator.Pool) (all []netip.Addr) {
	for _, f := range p.Families() {
		if g := p.Gateway(f); g.IsValid() {
			all = append(all, g)
		}
	}
	return all
}

// routes are the default route of each family that has a gateway, unless the pool wants none, then the pool's own.
func routes(p *allocator.Pool) (all []allocator.Route) {
	for _, g := range gateways(p) {
		if !p.DefaultRoute() {
			break
		}
		all = append(all, allocator.Route{To: netip.PrefixFrom(unspecified(g), 0), Via: g})
	}
	for _, r := range p.Routes {
		if !r.Via.IsValid() {
			r.Via = p.Gateway(allocator.FamilyOf(r.To.Addr()))
		}
		all = append(all, r)
	}
	return all
}

func unspecified(like netip.Addr) netip.Addr {
	if like.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// bridge is what an entry needs its bridge to be. Without an uplink this node is the network's router, so that the
// bridge has the gateways' addresses.
func bridge(w journal.Wiring, pool *allocator.Pool) netops.Bridge {
	b := netops.Bridge{Name: w.Bridge, Uplink: w.Uplink, MTU: pool.MTU}
	if w.Uplink == "" {
		for _, g := range gateways(pool) {
			f := allocator.FamilyOf(g)
			switch {
			case !pool.Beyond(f):
				b.Addresses = append(b.Addresses, pool.Prefix(g))
				continue
			case g.Is6() && g.IsLinkLocalUnicast():
				b.Addresses = append(b.Addresses, netip.PrefixFrom(g, 64)) // RFC 4291, section 2.5.6
			default:
				b.Addresses = append(b.Addresses, netip.PrefixFrom(g, g.BitLen()))
			}
			b.Subnets = append(b.Subnets, pool.CIDR(f))
		}
	}
	if w.IPMasq {
		b.Masquerade = pool.CIDRs
	}
	return b
}

// port is what an entry needs its interface to be.
func port(e *journal.Entry, pool *allocator.Pool) netops.Port {
	mac, _ := net.ParseMAC(e.Wiring.MAC) // written by us, or checked when it was asked for
	p := netops.Port{
		Name: e.Wiring.Port, Alias: alias(e), Bridge: e.Wiring.Bridge, Interface: e.Attachment.Interface, MAC: mac, MTU: e.Wiring.MTU,
		OnLink: pool.OnLink,
	}
	for _, addr := range e.Addresses {
		p.Addresses = append(p.Addresses, pool.Prefix(addr))
	}
	for _, r := range e.Wiring.Routes {
		p.Routes = append(p.Routes, netops.Route{To: r.To, Via: r.Via})
	}
	return p
}

// wireAll wires a set, as one that works on the kernel.
func (a *Agent) wireAll(ctx context.Context, adds []*add) error {
	release, err := a.slots.Acquire(ctx)
	if err != nil {
		return wire.Errorf(wire.CodeTryAgain, "this node has too much to do on its kernel: %w", err)
	}
	defer release()
	for _, add := range adds {
		if err := a.wire(add); err != nil {
			return err
		}
	}
	return nil
}

// wire makes an add's interface, or in the IPAM role only makes sure that its namespace's end will be heard.
func (a *Agent) wire(add *add) (err error) {
	if add.netns != nil {
		if add.attached.inode, err = inode(add.netns); err != nil {
			return wire.Errorf(wire.CodeNetns, "%w", err)
		}
	}
	if add.entry.Role == wire.IPAM {
		return a.watchNamespace(add)
	}
	if add.IPMasq && add.Uplink != "" {
		return wire.Errorf(wire.CodeConfig, "ipMasq and uplink exclude each other: with an uplink the network's own router translates")
	}
	state, err := a.ensureBridge(add.entry, add.pool)
	if err != nil {
		return bridgeError(err)
	}
	p := port(add.entry, add.pool)
	p.Netns = add.netns
	add.wired = true
	made, err := a.kernel.Attach(p)
	if err != nil {
		if _, foreign := errors.AsType[*netops.ForeignError](err); foreign {
			return wire.Errorf(wire.CodeConfig, "%w", err)
		}
		if _, full := errors.AsType[*netops.FullError](err); full {
			a.host.looked.Raise()
			return wire.Errorf(wire.CodeTryAgain, "%w", err)
		}
		return wire.Errorf(wire.CodeIO, "%w", err)
	}
	add.attached.mac, add.attached.hostMAC, add.attached.bridgeMAC, add.attached.mtu = made.MAC, made.HostMAC, state.MAC, made.MTU
	return nil
}

// watchNamespace gives the container's namespace an identity by which the kernel tells its end.
func (a *Agent) watchNamespace(add *add) error {
	if add.netns == nil {
		return nil
	}
	id, err := a.kernel.WatchNamespace(add.netns)
	if err != nil {
		return wire.Errorf(wire.CodeIO, "%w", err)
	}
	add.attached.namespaceID = id + 1
	return nil
}

// answer is what the caller is told.
func (a *Agent) answer(add *add) wire.Result {
	e := add.entry
	r := wire.Result{Class: string(e.Class), Pool: e.Pool, MAC: add.attached.mac, MTU: add.attached.mtu}
	for _, addr := range e.Addresses {
		r.Addresses = append(r.Addresses, wire.Address{
			Address: add.pool.Prefix(addr), Gateway: add.pool.Gateway(allocator.FamilyOf(addr)),
		})
	}
	for _, route := range routes(add.pool) {
		r.Routes = append(r.Routes, wire.Route(route))
	}
	if d := add.pool.DNS; len(d.Nameservers)+len(d.Search)+len(d.Options) > 0 || d.Domain != "" {
		r.DNS = &wire.DNS{Nameservers: d.Nameservers, Domain: d.Domain, Search: d.Search, Options: d.Options}
	}
	if e.Role == wire.Interface {
		r.HostName, r.HostMAC = e.Wiring.Port, add.attached.hostMAC
		r.Bridge, r.BridgeMAC = e.Wiring.Bridge, add.attached.bridgeMAC
	}
	return r
}
