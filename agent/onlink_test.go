package agent

import (
	"net/netip"
	"testing"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/config"
)

func onLink(name, cidr string, gateways ...string) allocator.Pool {
	p := allocator.Pool{Name: name, CIDRs: prefixes(cidr), OnLink: true}
	for _, g := range gateways {
		p.Gateways = append(p.Gateways, netip.MustParseAddr(g))
	}
	return p
}

func TestAPoolMayHaveItsGatewayOnTheLinkAlone(t *testing.T) {
	r := newRig(t)
	r.apply(onLink("far", "10.43.0.0/16", "169.254.1.1"))
	r.until("the agent has the pool", func() bool { _, _, err := r.agent.Pool("far"); return err == nil })
	c := r.stateless("a", "")
	c.Pool, c.Bridge = "far", "far0"
	response, err := r.ask(wire.Insert, c)
	check(t, err)
	got := response.Results[0]
	if len(got.Routes) != 1 || got.Routes[0].Via != netip.MustParseAddr("169.254.1.1") || got.Addresses[0].Gateway != got.Routes[0].Via {
		t.Errorf("the answer is %+v: want the default route by 169.254.1.1", got)
	}
	_, err = r.ask(wire.Read, c)
	check(t, err)
	other := r.stateless("b", "")
	other.Pool, other.Role = "far", wire.IPAM
	r.refused(wire.CodeConfig, other)

	// The gateway moves, and then no default route is wanted any more: both reach the running container.
	for _, change := range []func(*allocator.Pool){
		func(p *allocator.Pool) { p.Gateways = []netip.Addr{netip.MustParseAddr("169.254.1.2")} },
		func(p *allocator.Pool) { no := false; p.Default = &no },
	} {
		r.change(func(config *config.Config) {
			p := config.Pools["far"]
			change(&p)
			config.Pools["far"] = p
		})
		r.until("the change is applied", func() bool { v := r.agent.updater.Revision(); return v.Complete && v.Revision == r.revision() })
		_, err = r.ask(wire.Read, c)
		check(t, err)
	}
	e := r.agent.Journal.Entries()[0]
	if len(e.Wiring.Routes) != 0 {
		t.Errorf("the container has the routes %v: want none", e.Wiring.Routes)
	}
	r.add(other) // no route that its interface's plugin could not put
}

// revision is the cluster's.
func (r *rig) revision() int64 {
	r.t.Helper()
	config, err := r.store.Config.Read(r.t.Context())
	check(r.t, err)
	return config.Revision
}
