package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/record"
)

// interfaceFields are a pool's keys that agents bring to the interfaces which Berth made, and to no others.
var interfaceFields = []string{"gateways", "mtu", "routes"}

// outOfReach says which changes of pools do not come to running containers, or not to all: a line for each pool and
// reason.
func outOfReach(base *config.Config, changes []record.Change) (notes []string) {
	var pool string
	var dns bool
	var fields []string
	tell := func() {
		if dns {
			notes = append(notes, fmt.Sprintf("pool %s: dns is for new containers only: the runtime has told it to those that run", pool))
		}
		if len(fields) > 0 {
			notes = append(notes, fmt.Sprintf("pool %s: where another plugin made the interface (role ipam), %s for new containers only",
				pool, isOrAre(fields)))
		}
	}
	for _, change := range changes {
		name, is := strings.CutPrefix(change.Object, "pool ")
		another := func(c record.Change) bool { return c.Object == change.Object && c.Field == "mode" }
		if _, former := base.Pools[name]; !is || !former || slices.ContainsFunc(changes, another) { // no container is of another mode
			continue
		}
		if name != pool {
			tell()
			pool, dns, fields = name, false, nil
		}
		switch {
		case change.Field == "dns":
			dns = true
		case slices.Contains(interfaceFields, change.Field):
			fields = append(fields, change.Field)
		}
	}
	tell()
	return notes
}

func isOrAre(names []string) string {
	if len(names) == 1 && !strings.HasSuffix(names[0], "s") {
		return names[0] + " is"
	}
	return strings.Join(names, " and ") + " are"
}
