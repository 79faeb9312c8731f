package manifest

import (
	"net/netip"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/berth-ipam/berth/allocator"
)

// cidrs reads a list of CIDRs, each alone or as a mapping that says whether it is drained.
func (p *parser) cidrs(n *yaml.Node, pool *allocator.Pool) {
	pool.CIDRs = nil
	for _, item := range p.items(n, "cidrs", "a CIDR such as 10.42.0.0/16, or {cidr: 10.42.0.0/16, drain: true}") {
		var cidr netip.Prefix
		drain := false
		if resolve(item).Kind == yaml.MappingNode {
			p.mapping(item, "cidrs", fields{
				"cidr":  one(p, "cidr", &cidr, prefix),
				"drain": one(p, "drain", &drain, truth),
			})
		} else {
			one(p, "cidrs", &cidr, prefix)(item)
		}
		pool.CIDRs = append(pool.CIDRs, cidr)
		if drain {
			drained(pool, cidr)
		}
	}
}

// drainingCIDRs reads the list as `berthctl get pools -o yaml` writes it.
func (p *parser) drainingCIDRs(n *yaml.Node, pool *allocator.Pool) {
	var cidrs []netip.Prefix
	list(p, "drainingCIDRs", &cidrs, prefix)(n)
	for _, c := range cidrs {
		drained(pool, c)
	}
}

func drained(pool *allocator.Pool, cidr netip.Prefix) {
	if !slices.Contains(pool.DrainingCIDRs, cidr) {
		pool.DrainingCIDRs = append(pool.DrainingCIDRs, cidr)
	}
}
