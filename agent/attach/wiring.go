package attach

import (
	"context"
	"errors"

	"github.com/berth-ipam/berth/agent/host/bridges"
	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/agent/plan"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/netops"
)

// defaultBridge is the bridge of a network that names none.
const defaultBridge = "berth0"

// wiring is how the kernel is to wire an add, by its pool's present configuration.
func wiring(add *insertion, e *journal.Entry) journal.Wiring {
	w := journal.Wiring{
		Port:   netops.PortName(e.Attachment.Network, e.Attachment.Container, e.Attachment.Interface),
		Bridge: add.Bridge, Uplink: add.Uplink, IPMasq: add.IPMasq, MTU: add.pool.MTU, MAC: add.mac.String(),
		Gateways: add.pool.GatewaysOf(e.Addresses), Routes: add.pool.RoutesOf(e.Addresses), Trusted: !add.pool.AntiSpoofs(),
		Apart: add.pool.Isolate,
	}
	if !add.pool.Layer3() {
		w.Prefixes = plan.Prefixes(e.Addresses, nil, add.pool)
	}
	switch {
	case add.pool.Layer3():
		w.Bridge, w.Uplink, w.IPMasq, w.Routed = "", "", false, true
	case w.Bridge == "":
		w.Bridge = defaultBridge
	}
	if w.MAC == "" {
		w.MAC = netops.MACFor(e.Addresses).String()
	}
	return w
}

// wireAll wires a set, holding one worker slot.
func (a *Attacher) wireAll(ctx context.Context, adds []*insertion) error {
	for _, add := range adds {
		if err := a.Routes.Ensure(ctx, add.pool.Name); err != nil {
			return wire.Errorf(wire.CodeTryAgain, "%w", err)
		}
		if err := a.Apart.Ensure(ctx, add.pool); err != nil {
			return wire.Errorf(wire.CodeTryAgain, "%w", err)
		}
	}
	release, err := a.Slots.Acquire(ctx)
	if err != nil {
		return wire.Errorf(wire.CodeTryAgain, "this node has too much to do on its kernel: %w", err)
	}
	defer release()
	for _, add := range adds {
		if err := a.wireOne(add); err != nil {
			return err
		}
	}
	return nil
}

// wireOne makes an add's interface. In the IPAM role it only makes sure that the end of the namespace is noticed.
func (a *Attacher) wireOne(add *insertion) (err error) {
	if add.netns != nil {
		if add.attached.inode, err = a.Kernel().NamespaceInode(add.netns); err != nil {
			return wire.Errorf(wire.CodeNetns, "%w", err)
		}
	}
	if add.entry.Role == wire.IPAM {
		return a.watchNamespace(add)
	}
	var state netops.BridgeState
	if !add.entry.Wiring.Routed {
		if state, err = a.Updater.Host.Ensure(add.entry, add.pool); err != nil {
			return bridgeError(err)
		}
	}
	p := plan.Port(add.entry, add.pool)
	p.Netns = add.netns
	add.wired = true
	made, err := a.Kernel().Attach(p)
	if err != nil {
		if _, foreign := errors.AsType[*netops.ForeignError](err); foreign {
			return wire.Errorf(wire.CodeConfig, "%w", err)
		}
		if _, full := errors.AsType[*netops.FullError](err); full {
			a.Updater.Host.Changed()
			return wire.Errorf(wire.CodeTryAgain, "%w", err)
		}
		return wire.Errorf(wire.CodeIO, "%w", err)
	}
	add.attached.mac, add.attached.hostMAC, add.attached.bridgeMAC, add.attached.mtu = made.MAC, made.HostMAC, state.MAC, made.MTU
	return nil
}

// fits refuses an add whose network and pool cannot be served together.
func (add *insertion) fits() error {
	refuse := func(format string, args ...any) error { return wire.Errorf(wire.CodeConfig, format, args...) }
	routed := add.pool.Layer3()
	switch {
	case add.former != nil && plan.OtherMode(add.former.Wiring, add.pool):
		return refuse("%s was made while its pool %q had another mode: delete it first", add.attachment, add.pool.Name)
	case add.former != nil: // what it was made by counts
	case add.Role == wire.IPAM && routed:
		return refuse("pool %q has mode %s, and the plugin that makes the interface would not lead to its addresses: make berth the "+
			"interface plugin, or name a flat pool", add.pool.Name, add.pool.Mode)
	case add.Role == wire.Interface && routed && add.Uplink != "":
		return refuse("uplink %q: pool %q has mode %s, and its containers are on no bridge: take uplink out of the network's "+
			"configuration, or name a flat pool", add.Uplink, add.pool.Name, add.pool.Mode)
	case add.Role == wire.Interface && !routed && add.IPMasq && add.Uplink != "":
		return refuse("ipMasq and uplink exclude each other: with an uplink the network's own router translates")
	}
	return nil
}

// bridgeError translates an error of a bridge for the caller.
func bridgeError(err error) error {
	if _, contradicts := errors.AsType[*bridges.Contradiction](err); contradicts {
		return wire.Errorf(wire.CodeConfig, "%w", err)
	}
	return wire.Errorf(wire.CodeIO, "%w", err)
}

// watchNamespace gives the container's namespace an id, by which the kernel reports its end.
func (a *Attacher) watchNamespace(add *insertion) error {
	if add.netns == nil {
		return nil
	}
	id, err := a.Kernel().WatchNamespace(add.netns)
	if err != nil {
		return wire.Errorf(wire.CodeIO, "%w", err)
	}
	add.attached.namespaceID = id + 1
	return nil
}

// answer is the result for the caller.
func (a *Attacher) answer(add *insertion) wire.Result {
	e := add.entry
	r := wire.Result{Class: string(e.Class), Pool: e.Pool, MAC: add.attached.mac, MTU: add.attached.mtu}
	for _, addr := range e.Addresses {
		r.Addresses = append(r.Addresses, wire.Address{Address: add.pool.Prefix(addr), Gateway: add.pool.GatewayOf(addr)})
	}
	for _, route := range add.pool.RoutesOf(e.Addresses) {
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
