package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/berth-ipam/berth/lease"
)

// interfaceFields are a pool's keys that agents bring to the interfaces which Berth made, and to no others.
var interfaceFields = []string{"gateways", "mtu", "routes"}

// outOfReach says which changes of pools do not come to running containers, or not to all: a line for each pool and
// reason.
func outOfReach(base, next *lease.Config) (notes []string) {
	for _, pool := range sortedPools(next) {
		if _, former := base.Pools[pool.Name]; !former {
			continue
		}
		var dns bool
		var fields []string
		for _, change := range lease.Diff(base, next) {
			switch {
			case change.Object != "pool "+pool.Name:
			case change.Field == "dns":
				dns = true
			case slices.Contains(interfaceFields, change.Field):
				fields = append(fields, change.Field)
			}
		}
		if dns {
			notes = append(notes, fmt.Sprintf("pool %s: dns is for new containers only: the runtime has told it to those that run", pool.Name))
		}
		if len(fields) > 0 {
			notes = append(notes, fmt.Sprintf("pool %s: where another plugin made the interface (role ipam), %s for new containers only",
				pool.Name, isOrAre(fields)))
		}
	}
	return notes
}

func isOrAre(names []string) string {
	if len(names) == 1 && !strings.HasSuffix(names[0], "s") {
		return names[0] + " is"
	}
	return strings.Join(names, " and ") + " are"
}
