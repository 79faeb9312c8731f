package manifest

import (
	"go.yaml.in/yaml/v3"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/record"
)

// pools reads the list of pools.
func (p *parser) pools(n *yaml.Node) []allocator.Pool {
	var pools []allocator.Pool
	lines := map[string]int{}
	for _, item := range p.items(n, "pools", "a pool such as {name: default, cidrs: [10.42.0.0/16]}") {
		before := len(p.errs)
		pool := p.pool(item)
		if len(p.errs) > before {
			continue
		}
		if err := pool.Validate(); err != nil {
			p.fail(culprit(item, err), "%v", err)
		} else if first := lines[pool.Name]; first != 0 {
			p.fail(item, "pool %q is there twice, first in line %d", pool.Name, first)
		}
		lines[pool.Name] = item.Line
		pools = append(pools, pool)
	}
	return pools
}

// pool reads one pool over the defaults.
func (p *parser) pool(n *yaml.Node) allocator.Pool {
	pool, said := allocator.Pool{}.WithDefaults(), false
	p.mapping(n, "pool", fields{
		"name":          one(p, "name", &pool.Name, word),
		"cidrs":         func(n *yaml.Node) { p.cidrs(n, &pool) },
		"drainingCIDRs": func(n *yaml.Node) { p.drainingCIDRs(n, &pool) },
		"mode":          one(p, "mode", &pool.Mode, mode),
		"gateways":      list(p, "gateways", &pool.Gateways, address),
		"gatewayOnLink": one(p, "gatewayOnLink", &pool.OnLink, truth),
		"defaultRoute":  maybe(p, "defaultRoute", &pool.Default, truth),
		"ipMasq":        one(p, "ipMasq", &pool.IPMasq, truth),
		"antiSpoof":     maybe(p, "antiSpoof", &pool.AntiSpoof, truth),
		"isolate":       one(p, "isolate", &pool.Isolate, truth),
		"stateful":      list(p, "stateful", &pool.Stateful, prefix),
		"exclude":       list(p, "exclude", &pool.Exclude, addresses),
		"blockSize":     func(n *yaml.Node) { p.blockSize(n, &pool.BlockSize) },
		"routes":        func(n *yaml.Node) { pool.Routes = p.routes(n) },
		"mtu":           one(p, "mtu", &pool.MTU, number),
		"dns":           func(n *yaml.Node) { p.dns(n, &pool.DNS) },
		"reuse":         one(p, "reuse", &pool.Reuse, duration),
		"cooldown":      one(p, "cooldown", &pool.Cooldown, duration),
		"retain":        one(p, "retain", &pool.Retain, duration),
		"draining": func(n *yaml.Node) {
			said = true
			one(p, "draining", &pool.Draining, truth)(n)
		},
	})
	if said {
		if p.draining == nil {
			p.draining = map[string]bool{}
		}
		p.draining[pool.Name] = pool.Draining
	}
	return pool
}

func (p *parser) blockSize(n *yaml.Node, size *allocator.BlockSize) {
	p.mapping(n, "blockSize", fields{
		"v4": one(p, "blockSize v4", &size.V4, number),
		"v6": one(p, "blockSize v6", &size.V6, number),
	})
}

func (p *parser) routes(n *yaml.Node) []allocator.Route {
	var routes []allocator.Route
	for _, item := range p.items(n, "routes", "a route such as {to: 10.0.0.0/8}") {
		var route allocator.Route
		p.mapping(item, "route", fields{
			"to":  one(p, "to", &route.To, prefix),
			"via": one(p, "via", &route.Via, address),
		})
		routes = append(routes, route)
	}
	return routes
}

func (p *parser) dns(n *yaml.Node, dns *allocator.DNS) {
	p.mapping(n, "dns", fields{
		"nameservers": list(p, "nameservers", &dns.Nameservers, word),
		"domain":      one(p, "domain", &dns.Domain, word),
		"search":      list(p, "search", &dns.Search, word),
		"options":     list(p, "options", &dns.Options, word),
	})
}

// vxlan leaves out what is the default, so that agents of releases without it read the settings.
func (p *parser) vxlan(n *yaml.Node, v *record.VXLAN) {
	all := v.Whole()
	p.mapping(n, "vxlan", fields{
		"id":   one(p, "vxlan id", &all.ID, vxlanID),
		"port": one(p, "vxlan port", &all.Port, udpPort),
	})
	if *v = all; all == record.DefaultVXLAN {
		*v = record.VXLAN{}
	}
}

// settings reads the settings over the defaults.
func (p *parser) settings(n *yaml.Node) *record.Settings {
	settings := record.DefaultSettings()
	before := len(p.errs)
	p.mapping(n, "settings", fields{
		"operations":   list(p, "operations", &settings.Operations, word),
		"fencing":      one(p, "fencing", &settings.Fencing, word),
		"probe":        one(p, "probe", &settings.Probe, word),
		"session":      one(p, "session", &settings.Session, duration),
		"addressLease": one(p, "addressLease", &settings.AddressLease, duration),

		"statusExhausted": one(p, "statusExhausted", &settings.StatusExhausted, truth),

		"vxlan": func(n *yaml.Node) { p.vxlan(n, &settings.VXLAN) },
	})
	if len(p.errs) == before {
		if err := settings.Validate(); err != nil {
			p.fail(culprit(n, err), "%v", err)
		}
	}
	return &settings
}
