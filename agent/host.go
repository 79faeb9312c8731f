package agent

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/berth-ipam/berth/agent/bridges"
	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/lease"
	"github.com/berth-ipam/berth/netops"
)

// host is what this node's containers need of the host, and keeps it so: what has disappeared is told and put back.
type host struct {
	bridges bridges.Book

	mu      sync.Mutex
	ensured map[string]netops.Bridge // as each bridge was wanted when it was last looked at
	looked  task.Signal              // something may have disappeared
}

// Looking at the host costs the kernel a list of its links, so that it is done at most once a second; while somebody undoes what is
// put back, ever less often.
const (
	lookPause    = time.Second
	mostPause    = time.Minute
	contradicted = "bridge-contradiction"
	unreadHost   = "host-unreadable"
	byItself     = "nothing: the agent puts it back"
)

// watchHost looks at the host when the kernel tells of a change there, and once a minute.
func (a *Agent) watchHost(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	wait := lookPause
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.host.looked:
		case <-tick.C:
		}
		if a.lookAtHost() {
			wait = min(2*wait, mostPause)
		} else {
			wait = lookPause
		}
		task.Pause(ctx, wait)
	}
}

// lookAtHost tells what of the host is not as this node's containers need it, puts it back, and reports whether there was
// anything to do. It is tried again at the next look.
func (a *Agent) lookAtHost() (mended bool) {
	h := &a.host
	h.mu.Lock()
	defer h.mu.Unlock()
	a.bridging.RLock()
	defer a.bridging.RUnlock()
	config := a.config.Load()
	if config.Revision == 0 {
		return false // the pools are not known yet
	}
	all, contradictions := h.bridges.All(a.uses(config))
	a.tellContradictions(contradictions)
	ports := a.portsByBridge()
	var names []string
	for _, b := range all {
		names = append(names, b.Name)
		if former, ok := h.ensured[b.Name]; ok && !reflect.DeepEqual(former, b) {
			_, _ = a.kernel.EnsureBridge(b) // what the configuration has changed is no fault; what fails is found below
		}
		mended = a.lookAtBridge(b, ports[b.Name]) || mended
	}
	h.ensured = map[string]netops.Bridge{}
	for _, b := range all {
		h.ensured[b.Name] = b
	}
	for _, kind := range append([]string{unreadHost}, netops.HostFaultKinds...) {
		a.findings.Keep(kind, names...)
	}
	return mended
}

func (a *Agent) tellContradictions(all []*bridges.Contradiction) {
	texts, advice := map[string][]string{}, map[string]string{}
	for _, c := range all {
		texts[c.Bridge], advice[c.Bridge] = append(texts[c.Bridge], c.Text), c.Advice
	}
	var subjects []string
	for bridge, t := range texts {
		subjects = append(subjects, bridge)
		a.findings.Set(contradicted, bridge, strings.Join(t, "; "), advice[bridge])
	}
	a.findings.Keep(contradicted, subjects...)
}

// lookAtBridge reports whether there was something to mend.
func (a *Agent) lookAtBridge(b netops.Bridge, ports []string) bool {
	found, err := a.kernel.HostFaults(b, ports)
	if err != nil {
		a.findings.Set(unreadHost, b.Name, err.Error(), "see the cause; it is tried again every minute")
		return false
	}
	a.findings.Clear(unreadHost, b.Name)
	a.tellFaults(b.Name, found, nil)
	if !slices.ContainsFunc(found, func(f netops.HostFault) bool { return f.Person == "" }) {
		return false
	}
	_, err = a.kernel.EnsureBridge(b)
	err = errors.Join(err, a.kernel.MendPorts(b, ports))
	left, unread := a.kernel.HostFaults(b, ports)
	if unread != nil {
		a.findings.Set(unreadHost, b.Name, unread.Error(), "see the cause; it is tried again every minute")
		return true
	}
	if err == nil && len(left) > 0 { // what was undone since
		err = errors.New("it was put back, and is so again")
	}
	a.tellFaults(b.Name, left, err)
	return true
}

// renewed is the kind of what is no fault: a DHCP client does so each time that it renews a lease.
const renewed = "uplink-address"

// tellFaults makes a bridge's findings those that are given. failed says why what the agent mends by itself is still there.
func (a *Agent) tellFaults(bridge string, found []netops.HostFault, failed error) {
	texts, advice := map[string][]string{}, map[string]string{}
	for _, f := range found {
		if f.Kind == renewed && failed == nil {
			continue
		}
		texts[f.Kind], advice[f.Kind] = append(texts[f.Kind], f.Text), f.Person
		if f.Person == "" {
			advice[f.Kind] = byItself
			if failed != nil {
				advice[f.Kind] = "the agent tries again; it could not yet: " + failed.Error()
			}
		}
	}
	for _, kind := range netops.HostFaultKinds {
		if t := texts[kind]; t != nil {
			a.findings.Set(kind, bridge, strings.Join(t, "; "), advice[kind])
		} else {
			a.findings.Clear(kind, bridge)
		}
	}
}

// uses are what this node's containers need of bridges by a configuration.
func (a *Agent) uses(config *lease.Config) (all []bridges.Held) {
	for _, e := range a.journal.Entries() {
		if pool, ok := config.Pools[e.Pool]; ok && e.Wiring.Port != "" && !e.Wiring.Unsure {
			all = append(all, bridges.Held{Use: useOf(e, &pool), Answered: e.Answered != 0})
		}
	}
	return all
}

func useOf(e *journal.Entry, pool *allocator.Pool) bridges.Use {
	return bridges.Use{Network: e.Attachment.Network, Pool: e.Pool, Bridge: bridge(rewired(e.Wiring, pool), pool)}
}

// portsByBridge are those that answered attachments have.
func (a *Agent) portsByBridge() map[string][]string {
	all := map[string][]string{}
	for _, e := range a.journal.Entries() {
		if e.Answered != 0 && e.Wiring.Port != "" {
			all[e.Wiring.Bridge] = append(all[e.Wiring.Bridge], e.Wiring.Port)
		}
	}
	return all
}
