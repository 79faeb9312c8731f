package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/agent/bridges"
	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease"
	"github.com/berth-ipam/berth/netops"
)

// bridging orders what is put on bridges and what is taken off. Whoever puts something there reads the configuration under
// it, so that after a gateway was taken off nobody puts it back by an older one.
type bridging struct{ sync.RWMutex }

// ensureBridge makes an entry's bridge what all who use it need by their pools' present configuration, unless the entry's
// network contradicts another: then nothing is changed. A pool that is gone wants what it wanted last.
func (a *Agent) ensureBridge(e *journal.Entry, last *allocator.Pool) (netops.BridgeState, error) {
	a.bridging.RLock()
	defer a.bridging.RUnlock()
	config, pool := a.config.Load(), last
	if now, ok := config.Pools[last.Name]; ok {
		pool = &now
	}
	b, err := a.host.bridges.Admit(useOf(e, pool), func() []bridges.Held { return a.uses(config) })
	if err != nil {
		return netops.BridgeState{}, err
	}
	return a.kernel.EnsureBridge(b)
}

// bridgeError is what ADD says of ensureBridge's.
func bridgeError(err error) error {
	if _, contradicts := errors.AsType[*bridges.Contradiction](err); contradicts {
		return wire.Errorf(wire.CodeConfig, "%w", err)
	}
	return wire.Errorf(wire.CodeIO, "%w", err)
}

// takeGatewaysOff takes the gateways off this node's bridges that no pool of the present configuration has and no container
// here goes by any more. It returns those that containers still go by, though their pools have others.
func (a *Agent) takeGatewaysOff() (used []netip.Addr, err error) {
	a.bridging.Lock()
	defer a.bridging.Unlock()
	config := a.config.Load()
	if config.Revision == 0 {
		return nil, nil // nobody knows what is wanted
	}
	wanted := map[netip.Addr]bool{}
	for _, pool := range config.Pools {
		for _, g := range pool.Gateways {
			wanted[g] = true
		}
	}
	former := map[netops.Placed]bool{}
	for _, e := range a.journal.Entries() {
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
	return used, a.kernel.Withdraw(func(p netip.Prefix) bool { return wanted[p.Addr()] }, off...)
}

// gatewayOn is the kind of the finding that a former gateway cannot be taken off.
const gatewayOn = "gateway-not-withdrawn"

// withdrawGateways reports whether nothing of former gateways is left on this node.
func (a *Agent) withdrawGateways() bool {
	used, err := a.takeGatewaysOff()
	if err != nil {
		a.findings.Set(gatewayOn, "bridges", fmt.Sprintf("a gateway that no pool has any more cannot be taken off this node's bridges: %v", err),
			"it is tried again each second; until then nobody is given the address: look at ip address show")
		return false
	}
	a.findings.Clear(gatewayOn, "bridges")
	if len(used) > 0 {
		a.Log.Debug("containers still go by former gateways", zap.Stringers("gateways", used))
	}
	return len(used) == 0
}

// freeEvery is how often it is looked whether every node has taken a former gateway off.
const freeEvery = 2 * time.Second

// freeFormer gives former gateways free that every node has taken off. One agent does it for all; if two believe that they are
// the one, the second finds the configuration changed.
func (a *Agent) freeFormer(ctx context.Context) error {
	return task.Every(ctx, freeEvery, func() {
		if len(a.config.Load().Former) == 0 || !a.absences.first(a.Node) {
			return
		}
		freed, err := a.store.FreeFormer(ctx, lease.Note{Who: "berthd@" + a.Node, Message: "every node has taken former gateways off"})
		if err != nil {
			a.Log.Debug("former gateways are not free yet", zap.Error(err))
		} else if freed > 0 {
			a.Log.Info("former gateways are free", zap.Int("addresses", freed))
		}
	})
}
