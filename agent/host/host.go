// Package host keeps what this node's containers need of the host: their bridges, with gateways, uplinks and masquerading,
// and the ports on them. What has disappeared is told as a finding and put back; what contradicts itself is refused.
package host

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

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

// Options are what a keeper works on.
type Options struct {
	Kernel   *netops.Kernel
	Journal  *journal.Journal
	Config   func() *config.Config // the present one; revision 0: it is not known yet
	Findings *findings.Board
	Log      *zap.Logger
}

// A Keeper is the one that changes the host for containers.
type Keeper struct {
	Options

	book bridges.Book
	// order is between what is put on bridges and what is taken off. Whoever puts something there reads the configuration
	// under it, so that after a gateway was taken off nobody puts it back by an older one.
	order lockorder.Host

	mu      sync.Mutex               // of one look
	ensured map[string]netops.Bridge // as each bridge was wanted when it was last looked at
	changed task.Signal              // something may have disappeared
}

// New makes the keeper of a node's host.
func New(o Options) *Keeper { return &Keeper{Options: o, changed: task.NewSignal()} }

// MaxPause is the longest time between two looks, while somebody undoes again and again what is put back.
const MaxPause = time.Minute

// Looking at the host costs the kernel a list of its links, so that it is done at most once a second; while somebody undoes what is
// put back, ever less often.
const (
	lookPause    = time.Second
	lookEvery    = time.Minute // where the kernel tells of nothing
	contradicted = "bridge-contradiction"
	unreadHost   = "host-unreadable"
)

// Changed has the host looked at soon: something may have disappeared.
func (k *Keeper) Changed() { k.changed.Raise() }

// Run looks at the host when the kernel tells of a change there, and once a minute.
func (k *Keeper) Run(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	wait := lookPause
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-k.changed:
		case <-tick.C:
		}
		if k.Look() {
			wait = min(2*wait, MaxPause)
		} else {
			wait = lookPause
		}
		task.Pause(ctx, wait)
	}
}

// Look tells what of the host is not as this node's containers need it, puts it back, and reports whether there was
// anything to do. It is tried again at the next look.
func (k *Keeper) Look() (mended bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.order.RLock()
	defer k.order.RUnlock()
	config := k.Config()
	if config.Revision == 0 {
		return false // the pools are not known yet
	}
	all, contradictions := k.book.All(k.uses(config))
	k.reportContradictions(contradictions)
	ports := k.portsByBridge()
	var names []string
	for _, b := range all {
		names = append(names, b.Name)
		if former, ok := k.ensured[b.Name]; ok && !reflect.DeepEqual(former, b) {
			_, _ = k.Kernel.EnsureBridge(b) // what the configuration has changed is no fault; what fails is found below
		}
		mended = k.compareBridge(b, ports[b.Name]) || mended
	}
	k.ensured = map[string]netops.Bridge{}
	for _, b := range all {
		k.ensured[b.Name] = b
	}
	for _, kind := range append([]string{unreadHost}, netops.HostFaultKinds...) {
		k.Findings.Keep(kind, names...)
	}
	return mended
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

// compareBridge reports whether there was something to mend.
func (k *Keeper) compareBridge(b netops.Bridge, ports []string) bool {
	found, err := k.Kernel.HostFaults(b, ports)
	if err != nil {
		k.Findings.Set(unreadHost, b.Name, err.Error(), "see the cause; it is tried again every minute")
		return false
	}
	k.Findings.Clear(unreadHost, b.Name)
	k.reportFaults(b.Name, found, nil)
	if !slices.ContainsFunc(found, func(f netops.HostFault) bool { return f.Person == "" }) {
		return false
	}
	_, err = k.Kernel.EnsureBridge(b)
	err = errors.Join(err, k.Kernel.MendPorts(b, ports))
	left, unread := k.Kernel.HostFaults(b, ports)
	if unread != nil {
		k.Findings.Set(unreadHost, b.Name, unread.Error(), "see the cause; it is tried again every minute")
		return true
	}
	if err == nil && len(left) > 0 { // what was undone since
		err = errors.New("it was put back, and is so again")
	}
	k.reportFaults(b.Name, left, err)
	return true
}

// renewed is the kind of what is no fault: a DHCP client does so each time that it renews a lease.
const renewed = "uplink-address"

// reportFaults makes a bridge's findings those that are given. failed says why what the agent mends by itself is still there.
func (k *Keeper) reportFaults(bridge string, found []netops.HostFault, failed error) {
	texts, advice := map[string][]string{}, map[string]string{}
	for _, f := range found {
		if f.Kind == renewed && failed == nil {
			continue
		}
		texts[f.Kind], advice[f.Kind] = append(texts[f.Kind], f.Text), f.Person
		if f.Person == "" {
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

// uses are what this node's containers need of bridges by a configuration.
func (k *Keeper) uses(config *config.Config) (all []bridges.Held) {
	for _, e := range k.Journal.Entries() {
		if pool, ok := config.Pools[e.Pool]; ok && e.Wiring.Port != "" && !e.Wiring.Unsure {
			all = append(all, bridges.Held{Use: useOf(e, &pool), Answered: e.Answered != 0})
		}
	}
	return all
}

func useOf(e *journal.Entry, pool *allocator.Pool) bridges.Use {
	return bridges.Use{Network: e.Attachment.Network, Pool: e.Pool, Bridge: plan.Bridge(plan.Rewired(e.Wiring, pool), pool)}
}

// portsByBridge are those that answered attachments have.
func (k *Keeper) portsByBridge() map[string][]string {
	all := map[string][]string{}
	for _, e := range k.Journal.Entries() {
		if e.Answered != 0 && e.Wiring.Port != "" {
			all[e.Wiring.Bridge] = append(all[e.Wiring.Bridge], e.Wiring.Port)
		}
	}
	return all
}
