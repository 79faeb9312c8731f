package sim

import (
	"slices"
	"testing"
)

// TestAStaleReadIsNoticed shows why releases of etcd are refused that answer a linearizable read with what is out of date: also in
// strict mode a member is live twice then.
func TestAStaleReadIsNoticed(t *testing.T) {
	plan, err := ParsePlan(`
		1s add place=db-0 node=n1
		5s freeze node=n1 for=2m
		30s seize place=db-0 node=n2`)
	if err != nil {
		t.Fatal(err)
	}
	r := simulate(t, Options{Seed: 1, Nodes: 3, Strict: true}, plan)
	if !slices.ContainsFunc(r.Violations, func(v Violation) bool { return v.Rule == "unique" }) {
		t.Errorf("violations %v, of %v: want a member that is live twice", r.Violations, r.Counts)
	}
}
