package host

import (
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/netops"
)

// notRetired is the kind of the finding that something on the host cannot be taken away which no container needs.
const notRetired = "host-not-cleared"

// retire takes off the host what it was given for containers that are gone. What a container needs that cannot be told keeps all.
func (k *Keeper) retire() {
	k.order.Lock()
	defer k.order.Unlock()
	config := k.Config()
	if config.Revision == 0 || !k.allTell(config) {
		return
	}
	used, contradictions := k.used(config)
	if len(contradictions) > 0 {
		return
	}
	for _, e := range k.Journal.Entries() {
		if e.Wiring.MasqUnknown {
			used = append(used, netops.Bridge{Masquerade: config.Pools[e.Pool].CIDRs}) // what masquerades goes on
		}
	}
	for _, pool := range config.Pools {
		if pool.Layer3() && pool.IPMasq { // its rule is the routes' keeper's
			used = append(used, netops.Bridge{Masquerade: pool.CIDRs})
		}
	}
	if err := k.kernel().Retire(used); err != nil {
		k.Findings.Set(notRetired, "host", err.Error(), "see the cause; it is tried again every minute. Until then the host keeps a route "+
			"to a pool, or masquerades it, though no container of this node needs that")
		return
	}
	k.Findings.Clear(notRetired, "host")
}

// allTell reports whether of each container with a port it is known what it needs of its bridge.
func (k *Keeper) allTell(config *config.Config) bool {
	for _, e := range k.Journal.Entries() {
		if _, known := config.Pools[e.Pool]; e.Wiring.Port != "" && (!known || e.Wiring.Unsure) {
			return false
		}
	}
	return true
}
