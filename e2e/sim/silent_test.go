package sim

import (
	"slices"
	"testing"
)

// TestASilenceWithoutACauseIsNoticed cuts a port as an agent does, behind the back of the one that runs.
func TestASilenceWithoutACauseIsNoticed(t *testing.T) {
	deeds["cut-port"] = atPlace(func(p *place, _ Step) error {
		return p.current.node.agent.Load().agent.Kernel().Leave(p.current.ns.Port(iface))
	})
	defer delete(deeds, "cut-port")
	plan, err := ParsePlan(`
		1s add place=db-0 node=n1
		1s add place=web/0 node=n2
		20s cut-port place=db-0
		40s status node=n3`)
	if err != nil {
		t.Fatal(err)
	}
	for _, strict := range []bool{false, true} {
		r := simulate(t, Options{Seed: 1, Nodes: 3, Strict: strict}, plan)
		if !slices.ContainsFunc(r.Violations, func(v Violation) bool { return v.Rule == "silent" }) {
			t.Errorf("strict %v: violations %v, of %v: want a container that is silent", strict, r.Violations, r.Counts)
		}
	}
}
