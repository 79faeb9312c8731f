package host

import (
	"errors"

	"github.com/berth-ipam/berth/agent/plan"
	"github.com/berth-ipam/berth/netops"
)

// compareRouted repairs the ports that this node routes to, and reports whether they differed.
func (k *Keeper) compareRouted() (repaired bool) {
	ports, err := k.passing()
	if len(ports) == 0 && err == nil {
		return false
	}
	var found []netops.HostFault
	if err == nil {
		found, err = k.kernel().RoutedFaults(ports)
	}
	if err != nil {
		k.Findings.Set(unreadHost, routedPorts, err.Error(), "see the cause; it is tried again every minute")
		return false
	}
	k.Findings.Clear(unreadHost, routedPorts)
	k.reportFaults(routedPorts, found, nil)
	if len(found) == 0 {
		return false
	}
	err = k.leadAgain(ports)
	left, unread := k.kernel().RoutedFaults(ports)
	k.reportFaults(routedPorts, left, errors.Join(err, unread))
	return true
}

// leadAgain has the host route to ports again. One that has left its class meanwhile leaves again: no route may stay behind.
func (k *Keeper) leadAgain(ports []netops.Port) (failed error) {
	for _, p := range ports {
		failed = errors.Join(failed, k.kernel().Lead(p))
	}
	classes, err := k.kernel().Classes()
	if err != nil {
		return errors.Join(failed, err)
	}
	for _, p := range ports {
		if classes[p.Name] == "" {
			failed = errors.Join(failed, k.kernel().Leave(p.Name))
		}
	}
	return failed
}

// passing are the routed ports of answered attachments whose traffic passes.
func (k *Keeper) passing() (all []netops.Port, err error) {
	for _, e := range k.Journal.Entries() {
		if e.Wiring.Routed && e.Answered != 0 {
			all = append(all, plan.Led(e))
		}
	}
	if len(all) == 0 {
		return nil, nil
	}
	classes, err := k.kernel().Classes()
	var passing []netops.Port
	for _, p := range all {
		if classes[p.Name] != "" {
			passing = append(passing, p)
		}
	}
	return passing, err
}
