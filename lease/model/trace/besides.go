package trace

import (
	"slices"

	"github.com/berth-ipam/berth/lease/model"
)

// Owners of parts that the models do not have.
const (
	kept     model.State = "kept for reservations"
	machines model.State = "a node's own"
)

// A row is a change that code makes and that no model has, since it gives no container anything that another one could have.
type row struct {
	change model.Change // only Of, From and To count
	alive  bool         // whoever does it has a session
	raised []int8       // nil: 0
	steps  []string
}

const (
	configures = "the configuration is changed"
	removes    = "what a removed node has becomes nobody's"
	mends      = "the doctor repairs"
)

func of(thing model.Thing, from, to model.State) model.Change {
	return model.Change{Of: thing, From: from, To: to}
}

// rows are all of them.
var rows = []row{
	// A block is kept for reservations with the first one in it, or where a stateful range grows over it. What is kept is no node's.
	{of(model.Address, model.Nobodys, kept), false, nil, []string{
		"reservation.Reserve", "reservation.ReserveFor", "reservation.Assert", "block.ClaimMachine", configures,
	}},
	{of(model.Address, kept, model.Nobodys), false, nil, []string{configures}},
	// What a node itself has is no container's. Where another one's becomes that, the former owner gives it.
	{of(model.Address, model.Nobodys, machines), false, nil, []string{"block.ClaimMachine"}},
	{of(model.Address, kept, machines), false, nil, []string{"block.ClaimMachine"}},
	{of(model.Address, model.Self, machines), true, nil, []string{"block.ClaimMachine", "block.Transfer"}},
	{of(model.Address, machines, model.Nobodys), false, nil, []string{"block.ReleaseMachine", configures, removes}},
	{of(model.Address, machines, kept), false, nil, []string{"block.ReleaseMachine", removes}},
	// A reservation may be made before its member runs.
	{of(model.Reservation, model.Missing, model.Nobodys), false, []int8{0, 1}, []string{"reservation.ReserveFor"}},
	{of(model.Reservation, model.Nobodys, model.Nobodys), false, []int8{1}, []string{"reservation.ReserveFor"}},
	// A node writes again what etcd has lost of its own. The models have that for addresses: see Restore.
	{of(model.Reservation, model.Missing, model.Self), true, []int8{1}, []string{"reservation.Assert"}},
	{of(model.Reservation, model.Nobodys, model.Self), true, []int8{1}, []string{"reservation.Assert"}},
	{of(model.Reservation, model.Self, model.Self), true, []int8{1}, []string{"reservation.Assert"}},
	// The first agent of all makes the cluster's key, and whoever meets one that says nothing.
	{of(model.Cluster, model.Missing, model.Certain), false, nil, []string{"session.Handshake"}},
	{of(model.Cluster, model.Missing, model.Void), false, nil, []string{"session.Handshake"}},
}

// repairs are what the doctor does besides, by what it has heard of all nodes.
var repairs = []row{
	{of(model.Address, model.Nobodys, kept), false, nil, []string{mends}},
	{of(model.Address, kept, model.Nobodys), false, nil, []string{mends}},
	{of(model.Address, machines, model.Nobodys), false, nil, []string{mends}},
	{of(model.Address, model.Self, model.Nobodys), false, nil, []string{mends}},
	{of(model.Reservation, model.Missing, model.Nobodys), false, []int8{0, 1}, []string{mends}},
	{of(model.Reservation, model.Nobodys, model.Missing), false, nil, []string{mends}},
	{of(model.Reservation, model.Nobodys, model.Self), true, []int8{0, 1}, []string{mends}},
	{of(model.Reservation, model.Self, model.Nobodys), false, nil, []string{mends}},
}

// besides are the steps that make a change and that no model has.
func (c *Checker) besides(change model.Change, mending bool) (steps []string) {
	all := rows
	if mending {
		all = slices.Concat(rows, repairs)
	}
	for _, r := range all {
		same := r.change.Of == change.Of && r.change.From == change.From && r.change.To == change.To
		raised := change.Raised == 0 && r.raised == nil || slices.Contains(r.raised, change.Raised)
		if same && raised && (change.Alive || !r.alive) {
			steps = append(steps, r.steps...)
		}
	}
	// In a recovery a later epoch is what a restored etcd has forgotten.
	if change == (model.Change{
		Of: model.Reservation, From: model.Other, To: model.Self, Raised: 1, Alive: true, In: model.Void,
		OtherAlive: change.OtherAlive, Waited: change.Waited,
	}) {
		steps = append(steps, "reservation.Assert")
	}
	if change.Of == model.Reservation && change.From == model.Self && change.To == model.Nobodys && change.Raised == 0 {
		steps = append(steps, removes)
	}
	return steps
}
