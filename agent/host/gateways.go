package host

import (
	"fmt"
	"net/netip"
	"slices"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/agent/host/bridges"
	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/netops"
)

// Ensure makes an entry's bridge as all who use it need it by their pools' present configuration. If the entry's network
// contradicts another, nothing is changed. For a removed pool its last configuration counts.
func (k *Keeper) Ensure(e *journal.Entry, last *allocator.Pool) (netops.BridgeState, error) {
	k.order.RLock()
	defer k.order.RUnlock()
	config, pool := k.Config(), last
	if now, ok := config.Pools[last.Name]; ok {
		pool = &now
	}
	b, err := k.book.Admit(useOf(e, pool), func() []bridges.Held { return k.uses(config) })
	if err != nil {
		return netops.BridgeState{}, err
	}
	spare(&b, config)
	return k.kernel().EnsureBridge(b)
}

// removeGateways removes from this node's bridges the gateways that no pool configures and no container here uses any more. It
// returns the former gateways that containers still use.
func (k *Keeper) removeGateways() (used []netip.Addr, err error) {
	k.order.Lock()
	defer k.order.Unlock()
	config := k.Config()
	if config.Revision == 0 {
		return nil, nil // the configuration is unknown
	}
	wanted := map[netip.Addr]bool{}
	for _, pool := range config.Pools {
		for _, g := range pool.Gateways {
			wanted[g] = true
		}
	}
	former := map[netops.Placed]bool{}
	for _, e := range k.Journal.Entries() {
		if e.Wiring.Routed { // its gateway is on no bridge
			continue
		}
		pool, known := config.Pools[e.Pool]
		for _, g := range e.Wiring.Gateways {
			if known && !wanted[g] && !slices.Contains(used, g) {
				used = append(used, g)
			}
			wanted[g] = true
		}
		for _, f := range pool.Former {
			if e.Wiring.Bridge != "" && e.Wiring.Uplink == "" {
				former[netops.Placed{Bridge: e.Wiring.Bridge, Prefix: pool.Prefix(f)}] = true
			}
		}
	}
	var off []netops.Placed
	for p := range former {
		off = append(off, p)
	}
	return used, k.kernel().Withdraw(func(p netip.Prefix) bool { return wanted[p.Addr()] }, off...)
}

// gatewayOn is the kind of the finding that a former gateway cannot be removed.
const gatewayOn = "gateway-not-withdrawn"

// WithdrawGateways removes what it can, and reports whether nothing of former gateways is left on this node.
func (k *Keeper) WithdrawGateways() bool {
	used, err := k.removeGateways()
	if err != nil {
		k.Findings.Set(gatewayOn, "bridges",
			fmt.Sprintf("a gateway that no pool has any more cannot be removed from this node's bridges: %v", err),
			"it is tried again each second; until then nobody is given the address: look at ip address show")
		return false
	}
	k.Findings.Clear(gatewayOn, "bridges")
	if len(used) > 0 {
		k.Log.Debug("containers still use former gateways", zap.Stringers("gateways", used))
	}
	return len(used) == 0
}
