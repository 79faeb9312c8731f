package allocator

import (
	"net/netip"
	"time"
)

// Defaults of a pool's keys that a configuration leaves out.
const (
	DefaultBlockV4  = 26
	DefaultBlockV6  = 122
	DefaultReuse    = Duration(10 * time.Minute)
	DefaultCooldown = Duration(30 * time.Second)
)

// A Pool is a named set of addresses. CIDRs are added, replaced by larger ones that contain them, and removed where nobody uses them; the
// block sizes never change. Pools never overlap, nor do CIDRs of a pool.
type Pool struct {
	Name     string         `json:"name" yaml:"name"`
	CIDRs    []netip.Prefix `json:"cidrs" yaml:"cidrs"`                           // any number of each family
	Mode     Mode           `json:"mode,omitempty" yaml:"mode,omitempty"`         // empty: flat
	Gateways []netip.Addr   `json:"gateways,omitempty" yaml:"gateways,omitempty"` // at most one in each CIDR; routed: none
	// a gateway of each family may lie outside of the CIDRs: it is on the link all the same, and is that of the CIDRs that have none
	OnLink bool `json:"gatewayOnLink,omitempty" yaml:"gatewayOnLink,omitempty"`
	// whether a gateway makes a default route; nil: it does
	Default *bool `json:"defaultRoute,omitempty" yaml:"defaultRoute,omitempty"`
	// whether what leaves the pool for elsewhere than another pool takes its node's address (source NAT); only for routed pools,
	// a flat one's is said by the networks
	IPMasq bool `json:"ipMasq,omitempty" yaml:"ipMasq,omitempty"`
	// whether containers send only from their own MACs and addresses; nil: they do
	AntiSpoof *bool `json:"antiSpoof,omitempty" yaml:"antiSpoof,omitempty"`
	// whether containers exchange packets with no other container of a pool that says so, too
	Isolate bool `json:"isolate,omitempty" yaml:"isolate,omitempty"`
	// aligned to the block size; none: stateful requests fail
	Stateful  []netip.Prefix `json:"stateful,omitempty" yaml:"stateful,omitempty"`
	Exclude   []Range        `json:"exclude,omitempty" yaml:"exclude,omitempty"` // never chosen anew
	BlockSize BlockSize      `json:"blockSize" yaml:"blockSize"`
	Routes    []Route        `json:"routes,omitempty" yaml:"routes,omitempty"` // besides the default route by the gateway
	MTU       int            `json:"mtu,omitempty" yaml:"mtu,omitempty"`       // bytes; 0: the bridge's, or what fits between nodes
	DNS       DNS            `json:"dns,omitzero" yaml:"dns,omitempty"`
	Reuse     Duration       `json:"reuse" yaml:"reuse"`                      // how long an app's released address is kept for the app
	Cooldown  Duration       `json:"cooldown" yaml:"cooldown"`                // how long before another app may have it
	Retain    Duration       `json:"retain,omitzero" yaml:"retain,omitempty"` // how long a reservation outlives its end; 0: forever
	Draining  bool           `json:"draining,omitempty" yaml:"-"`             // it is to be removed: nothing is allocated of it anew
	// those of the CIDRs that are to be removed: nothing is allocated of them anew. A list of its own, so that former releases read cidrs
	DrainingCIDRs []netip.Prefix `json:"drainingCIDRs,omitempty" yaml:"-"`

	// Former are addresses that were gateways, and that some node may still have on its bridge, or ends of a CIDR that has grown, which
	// some container may still take for the network's own. They are no part of what people configure: the cluster keeps them beside its
	// pools until every node has applied the change.
	Former []netip.Addr `json:"-" yaml:"-"`
}

// BlockSize is the prefix length of a pool's blocks, by family.
type BlockSize struct {
	V4 int `json:"v4" yaml:"v4"`
	V6 int `json:"v6" yaml:"v6"`
}

// A Route is one that every container of a pool gets. Without Via it leads by the container's gateway of its family.
type Route struct {
	To  netip.Prefix `json:"to" yaml:"to"`
	Via netip.Addr   `json:"via,omitzero" yaml:"via,omitempty"`
}

// DNS is what the runtime is told to put into a container's resolver (CNI specification 1.1.0, section 5, "dns").
type DNS struct {
	Nameservers []string `json:"nameservers,omitempty" yaml:"nameservers,omitempty"`
	Domain      string   `json:"domain,omitempty" yaml:"domain,omitempty"`
	Search      []string `json:"search,omitempty" yaml:"search,omitempty"`
	Options     []string `json:"options,omitempty" yaml:"options,omitempty"`
}

// A Duration is written the way people say it: "10m", "30s", "1h30m".
type Duration time.Duration

func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText makes the JSON and YAML form.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what time.ParseDuration reads.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	if err != nil {
		return err
	}
	*d = Duration(parsed)
	return nil
}
