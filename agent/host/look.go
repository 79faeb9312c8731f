package host

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/berth-ipam/berth/agent/host/bridges"
	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/netops"
)

// maxPause is the longest time between two comparisons, while another program undoes every repair.
const maxPause = time.Minute

// A comparison lists the links of the kernel, so that it is done at most once a second; while another program undoes every
// repair, ever less often.
const (
	lookPause    = time.Second
	lookEvery    = time.Minute // without an event
	contradicted = "bridge-contradiction"
)

// Changed has the host compared soon: something may have disappeared.
func (k *Keeper) Changed() { k.changed.Raise() }

// Run compares the host at each event of the kernel, and once a minute.
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
			wait = min(2*wait, maxPause)
		} else {
			wait = lookPause
		}
		task.Pause(ctx, wait)
	}
}

// Look compares the host with what this node's containers need, reports and repairs the differences, and reports whether there
// were any. What fails is tried again the next time.
func (k *Keeper) Look() (repaired bool) {
	k.looks.Lock()
	defer k.looks.Unlock()
	k.order.RLock()
	defer k.order.RUnlock()
	config := k.Config()
	if config.Revision == 0 {
		return false // the pools are unknown
	}
	all, contradictions := k.book.All(k.uses(config))
	k.reportContradictions(contradictions)
	ports := k.portsByBridge()
	var names []string
	for _, b := range all {
		names = append(names, b.Name)
		if former, ok := k.ensured[b.Name]; ok && !reflect.DeepEqual(former, b) {
			_, _ = k.kernel().EnsureBridge(b) // what the configuration has changed is no fault; failures are found below
		}
		repaired = k.compareBridge(b, ports[b.Name]) || repaired
	}
	if k.compareRouted() {
		repaired = true
	}
	names = append(names, routedPorts)
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
