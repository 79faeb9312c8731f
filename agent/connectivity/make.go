package connectivity

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/record"
)

const (
	iface     = "eth0"         // of a container
	namespace = "berth"        // of the app that the containers are of: an address that was used is used again by the next check
	app       = "connectivity" // its name
	idPrefix  = "check-"
)

// A probe is this node's container in one pool.
type probe struct {
	container wire.Container
	ns        *os.File // nil: there is none
	gateways  []netip.Addr
	record    record.CheckProbe
}

// make makes one container, as a runtime does.
func (p *part) make(ctx context.Context, one *probe) (err error) {
	pool, ok := p.Config().Pools[one.record.Pool]
	if !ok {
		return fmt.Errorf("this node knows no pool %q", one.record.Pool)
	}
	one.record.Mode, one.record.Isolate = pool.Mode.String(), pool.Isolate
	one.container = wire.Container{
		Network: Network, ID: idPrefix + p.id + "-" + pool.Name, Interface: iface, Role: wire.Interface, NetnsFile: 1,
		Class: string(allocator.Stateless), Namespace: namespace, App: app, Pool: pool.Name,
	}
	if !pool.Layer3() {
		if err := p.likeOthers(one); err != nil {
			return err
		}
	}
	if one.ns, err = p.kernel.NewNamespace(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, wire.RequestTime)
	defer cancel()
	r := &wire.Request{Operation: wire.Insert, Verb: "ADD", Started: int64(p.Clock.Boot()), Containers: wire.Containers{one.container}}
	results, err := p.attacher.Insert(ctx, r, []*os.File{one.ns})
	if err != nil {
		one.ns.Close()
		one.ns = nil
		return err
	}
	one.record.MTU, one.container.Bridge = results[0].MTU, results[0].Bridge
	for _, a := range results[0].Addresses {
		one.record.Addresses = append(one.record.Addresses, a.Address.Addr())
		if a.Gateway.IsValid() {
			one.gateways = append(one.gateways, a.Gateway)
		}
	}
	if !pool.Layer3() {
		if one.record.Uplink, err = p.kernel.Uplink(one.container.Bridge); err != nil {
			one.record.Error = err.Error()
		}
	}
	return nil
}

// likeOthers has the container on the bridge that the pool's others on this node are on, so that it changes nothing for them. Where
// there is none the check may say what their network would: this node does not know.
func (p *part) likeOthers(one *probe) error {
	c := &one.container
	for _, e := range p.Journal.Entries() {
		told := e.Wiring.Bridge != "" && !e.Wiring.Unsure && !e.Wiring.MasqUnknown
		if told && e.Pool == c.Pool && e.Answered != 0 && e.Attachment.Network != Network {
			c.Bridge, c.Uplink, c.IPMasq = e.Wiring.Bridge, e.Wiring.Uplink, e.Wiring.IPMasq
			return nil
		}
	}
	if p.check.Flat == (record.CheckNetwork{}) {
		return errors.New("this node has no container of this flat pool, and so does not know on which bridge, and with which uplink, they " +
			"are to be: start one here, or say it by --bridge, --uplink and --masquerade, as the network's configuration does")
	}
	c.Bridge, c.Uplink, c.IPMasq = p.check.Flat.Bridge, p.check.Flat.Uplink, p.check.Flat.IPMasq
	return nil
}

// removeAll deletes what was made. With the namespace's file the kernel ends what a deletion has left.
func (p *part) removeAll(all []*probe) {
	for _, one := range all {
		if one.ns == nil {
			continue
		}
		p.remove(context.Background(), one.container)
		one.ns.Close()
	}
}

// remove deletes a container of a check.
func (k tools) remove(ctx context.Context, c wire.Container) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), wire.RequestTime)
	defer cancel()
	c.NetnsFile = 0
	_, err := k.detacher.Delete(ctx, &wire.Request{Operation: wire.Delete, Verb: "DEL", Containers: wire.Containers{c}}, nil)
	if err != nil {
		k.Log.Warn("cannot delete a container of a check of the network; with its namespace the kernel ends it, and its address comes back",
			zap.String("container", c.ID), zap.Error(err))
	}
}
