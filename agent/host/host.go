// Package host keeps what this node's containers need of the host: their bridges, with gateways, uplinks and masquerading,
// and the ports on them. What has disappeared is reported as a finding and restored; contradictions are refused.
package host

import (
	"errors"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/agent/findings"
	"github.com/berth-ipam/berth/agent/host/bridges"
	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/agent/plan"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/lockorder"
	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/netops"
)

// A Kernel is what a keeper uses of the host's kernel. *netops.Kernel is one.
type Kernel interface {
	EnsureBridge(b netops.Bridge) (netops.BridgeState, error)
	HostFaults(b netops.Bridge, ports []string) ([]netops.HostFault, error)
	RepairPorts(b netops.Bridge, ports []string) error
	PathMTU(tunnelled bool) (int, error)
	RoutedFaults(ports []netops.Port) ([]netops.HostFault, error)
	Lead(p netops.Port) error
	Leave(port string) error
	Classes() (map[string]string, error)
	Withdraw(keep func(netip.Prefix) bool, former ...netops.Placed) error
	Retire(used []netops.Bridge) error
}

// Options are what a keeper works on.
type Options struct {
	Kernel   Kernel
	Journal  *journal.Journal
	Config   func() *config.Config // the present one; revision 0: unknown
	Findings *findings.Board
	Log      *zap.Logger

	PathChanged func() // what fits between nodes is another than before; it does not block
}

// A Keeper changes the host for containers. It is the only one that does.
type Keeper struct {
	Options

	book bridges.Book
	// order excludes additions to bridges from removals. An addition reads the configuration under it, so that no gateway that
	// was removed is added again by an older one.
	order lockorder.Host

	looks   lockorder.Spanning       // of one comparison; before order
	ensured map[string]netops.Bridge // each bridge as it was configured at the last comparison
	changed task.Signal              // something may have disappeared
	routed  task.Signal              // the routes between nodes were set anew
	path    path
}

// New makes the keeper of a node's host.
func New(o Options) *Keeper {
	return &Keeper{Options: o, changed: task.NewSignal(), routed: task.NewSignal()}
}

func (k *Keeper) kernel() Kernel {
	lockorder.Calls(lockorder.Kernel)
	return k.Kernel
}

const (
	contradicted = "bridge-contradiction"
	unreadHost   = "host-unreadable"

	// what findings about the ports that this node routes to are about: they have no bridge
	routedPorts = "routed ports"
)

// compare compares all bridges.
func (k *Keeper) compare() (repaired bool) {
	k.order.RLock()
	defer k.order.RUnlock()
	config := k.Config()
	if config.Revision == 0 {
		return false // the pools are unknown
	}
	all, contradictions := k.used(config)
	k.reportContradictions(contradictions)
	ports := k.portsByBridge()
	names := []string{routedPorts}
	for _, b := range all {
		names = append(names, b.Name)
		if former, ok := k.ensured[b.Name]; ok && !reflect.DeepEqual(former, b) {
			_, _ = k.kernel().EnsureBridge(b) // what the configuration has changed is no fault; failures are found below
		}
		repaired = k.compareBridge(b, ports[b.Name]) || repaired
	}
	k.ensured = map[string]netops.Bridge{}
	for _, b := range all {
		k.ensured[b.Name] = b
	}
	for _, kind := range append([]string{unreadHost}, netops.HostFaultKinds...) {
		k.Findings.Keep(kind, names...)
	}
	return repaired
}

func (k *Keeper) reportContradictions(all []*bridges.Contradiction) {
	texts, advice := map[string][]string{}, map[string]string{}
	for _, c := range all {
		texts[c.Bridge], advice[c.Bridge] = append(texts[c.Bridge], c.Text), c.Advice
	}
	var subjects []string
	for bridge, t := range texts {
		subjects = append(subjects, bridge)
		k.Findings.Set(contradicted, bridge, strings.Join(t, "; "), advice[bridge])
	}
	k.Findings.Keep(contradicted, subjects...)
}

// compareBridge repairs one bridge, and reports whether it differed.
func (k *Keeper) compareBridge(b netops.Bridge, ports []string) bool {
	found, err := k.kernel().HostFaults(b, ports)
	if err != nil {
		k.Findings.Set(unreadHost, b.Name, err.Error(), "see the cause; it is tried again every minute")
		return false
	}
	k.Findings.Clear(unreadHost, b.Name)
	k.reportFaults(b.Name, found, nil)
	if !slices.ContainsFunc(found, func(f netops.HostFault) bool { return f.Advice == "" }) {
		return false
	}
	_, err = k.kernel().EnsureBridge(b)
	err = errors.Join(err, k.kernel().RepairPorts(b, ports))
	left, unread := k.kernel().HostFaults(b, ports)
	if unread != nil {
		k.Findings.Set(unreadHost, b.Name, unread.Error(), "see the cause; it is tried again every minute")
		return true
	}
	if err == nil && len(left) > 0 { // the repair was undone
		err = errors.New("it was restored, and is so again")
	}
	k.reportFaults(b.Name, left, err)
	return true
}

// renewed is the kind of a difference that is no fault: a DHCP client makes it whenever it renews a lease.
const renewed = "uplink-address"

// reportFaults replaces a bridge's findings. failed says why a repair has failed.
func (k *Keeper) reportFaults(bridge string, found []netops.HostFault, failed error) {
	texts, advice := map[string][]string{}, map[string]string{}
	for _, f := range found {
		if f.Kind == renewed && failed == nil {
			continue
		}
		texts[f.Kind], advice[f.Kind] = append(texts[f.Kind], f.Text), f.Advice
		if f.Advice == "" {
			advice[f.Kind] = findings.ByItself
			if failed != nil {
				advice[f.Kind] = "the agent tries again; it could not yet: " + failed.Error()
			}
		}
	}
	for _, kind := range netops.HostFaultKinds {
		if t := texts[kind]; t != nil {
			k.Findings.Set(kind, bridge, strings.Join(t, "; "), advice[kind])
		} else {
			k.Findings.Clear(kind, bridge)
		}
	}
}

// used are the bridges as this node's containers need them by a configuration.
func (k *Keeper) used(config *config.Config) ([]netops.Bridge, []*bridges.Contradiction) {
	all, found := k.book.All(k.uses(config))
	for i := range all {
		spare(&all[i], config)
	}
	return all, found
}

// spare has what masquerades keep its address on its way to a pool of the cluster, whichever.
func spare(b *netops.Bridge, config *config.Config) {
	if len(b.Masquerade) == 0 {
		return
	}
	for _, pool := range config.Pools {
		b.Cluster = append(b.Cluster, pool.CIDRs...)
	}
	slices.SortFunc(b.Cluster, netip.Prefix.Compare)
}

// uses are what this node's containers need of bridges by a configuration.
func (k *Keeper) uses(config *config.Config) (all []bridges.Held) {
	for _, e := range k.Journal.Entries() {
		if pool, ok := config.Pools[e.Pool]; ok && e.Wiring.Port != "" && !e.Wiring.Unsure && !e.Wiring.Routed {
			all = append(all, bridges.Held{Use: useOf(e, &pool), Answered: e.Answered != 0})
		}
	}
	return all
}

func useOf(e *journal.Entry, pool *allocator.Pool) bridges.Use {
	return bridges.Use{Network: e.Attachment.Network, Pool: e.Pool, Bridge: plan.Bridge(plan.Rewired(e, pool), pool)}
}

// portsByBridge are the ports of answered attachments.
func (k *Keeper) portsByBridge() map[string][]string {
	all := map[string][]string{}
	for _, e := range k.Journal.Entries() {
		if e.Answered != 0 && e.Wiring.Port != "" && !e.Wiring.Routed {
			all[e.Wiring.Bridge] = append(all[e.Wiring.Bridge], e.Wiring.Port)
		}
	}
	return all
}
