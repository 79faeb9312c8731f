package model

import (
	"regexp"
	"slices"
	"strings"
	"sync"
)

// A Change is what one transaction makes of something that nodes share, as etcd shows it: of an address of a block, a reservation,
// a session, or the cluster's key. Self is the node that acts, and Other another one that is concerned.
type Change struct {
	Of       Thing
	From, To State
	Raised   int8 // the epoch or, of a session, the generation: 1 raised, -1 fallen, 0 as it was

	Alive      bool  // Self has a session
	OtherAlive bool  // Other has one, where From or To is Other
	Waited     bool  // Other's right, or all rights, had run out by then
	In         State // what the cluster's key says: whether a recovery goes on
}

// A Thing is what a change is of.
type Thing string

// The things that the models have.
const (
	Address     Thing = "address"
	Reservation Thing = "reservation"
	Session     Thing = "session"
	Cluster     Thing = "cluster"
)

// A State is whose something is, or how it is.
type State string

// States of addresses and reservations, of sessions, and of the cluster's key.
const (
	Missing State = "missing" // a reservation: there is none
	Nobodys State = "nobody's"
	Self    State = "the node's"
	Other   State = "another's"

	Absent  State = "absent"
	Present State = "present"

	Certain State = "certain"
	Void    State = "void"
	Foreign State = "another etcd's"
)

// changes collects what the steps of models make of what etcd has.
type changes map[Change][]string

func (c changes) add(change Change, step Step) {
	name := functionOf(step.Name)
	if change.From == change.To && change.Raised == 0 || slices.Contains(c[change], name) {
		return
	}
	c[change] = append(c[change], name)
}

var functions = regexp.MustCompile(`\b(session|block|reservation)\.[A-Z][A-Za-z]*`)

// functionOf is the function that a step is, or the step's own name where it is none.
func functionOf(step string) string {
	if function := functions.FindString(step); function != "" {
		return function
	}
	return step
}

// walk calls visit with every step of a model, up to so many states.
func walk[S comparable](m Model[S], most int, visit func(before S, step Step, after S)) {
	seen := newTable[S]()
	seen.add(m.Begin(), -1)
	for i := 0; i < len(seen.states) && i < most; i++ {
		before := seen.states[i]
		m.Steps(before, func(step Step, after S) {
			visit(before, step, after)
			seen.add(after, int32(i))
		})
	}
}

// enough is how many states of each model show every change that it has: a test holds it.
const enough = 10_000

// Changes are all that the models' steps make of what etcd has, each with the steps that do.
var Changes = sync.OnceValue(func() map[Change][]string { return changesOf(enough) })

func changesOf(most int) changes {
	all := changes{}
	for _, evidence := range []bool{false, true} {
		walk(Rights{Evidence: evidence, Joins: 2, Changes: 2, Removals: true}, most, all.rights)
	}
	walk(Splits{Joins: 2, Changes: 3}, most, all.splits)
	walk(Reservations{Joins: 2, Lives: [2]int8{1, 1}, Epochs: 3, Ends: true}, most, all.reservations)
	for _, how := range []How{NewID, Voided, Awaited} {
		walk(Restore{How: how, Revisions: 7}, most, all.restore)
		walk(Restore{How: how, Revisions: 7, Owned: true, Removals: true}, most, all.restore)
	}
	return all
}

func (c changes) rights(before rightsState, step Step, after rightsState) {
	for n := range before.keys {
		c.session(before.keys[n], after.keys[n], step)
	}
	if before.rev == after.rev {
		return
	}
	me := int(step.Node)
	change := Change{Of: Address, From: whose(before.owner, me), To: whose(after.owner, me), Alive: before.keys[me].session, In: Certain}
	t := before.nodes[me].sent.kind
	change.concerns(before.keys[1-me].session, t == takeOver || t == remove)
	c.add(change, step)
}

// session is what becomes of a node's two keys.
func (c changes) session(before, after nodeKeys, step Step) {
	if before != after {
		raised := after.generation - before.generation
		waited := strings.Contains(step.Name, "Tombstone")
		c.add(Change{Of: Session, From: presence(before.session), To: presence(after.session), Raised: min(raised, 1), Waited: waited}, step)
	}
}

func (c changes) splits(before splitsState, step Step, after splitsState) {
	if before.now == after.now {
		return
	}
	me := int(step.Node)
	was, is := before.versions[before.now], after.versions[after.now]
	if other := is.swapped(); was.differ(other) < was.differ(is) {
		is = other // the model has called the addresses by each other's name
	}
	for u := range was {
		change := Change{Of: Address, From: whose(was[u], me), To: whose(is[u], me), Alive: true, In: Certain}
		change.concerns(true, false)
		names := map[[2]State]string{{Self, Nobodys}: "block.Release", {Self, Other}: "block.Transfer", {Nobodys, Self}: "block.Claim"}
		c.add(change, Step{Name: names[[2]State{change.From, change.To}]})
	}
}

// differ counts the addresses whose owner is another.
func (o owners) differ(other owners) (n int) {
	for u := range o {
		if o[u] != other[u] {
			n++
		}
	}
	return n
}

func (c changes) reservations(before reservationsState, step Step, after reservationsState) {
	c.session(before.keys, after.keys, step)
	if before.record == after.record {
		return
	}
	me := int(step.Node)
	alive := [2]bool{before.keys.session, true}
	change := Change{Of: Reservation, From: before.record.state(me), To: after.record.state(me), In: Certain}
	if change.Raised = min(1, after.record.epoch-before.record.epoch); change.To == Missing {
		change.Raised = 0
	}
	if me >= 0 {
		change.Alive = alive[me]
		change.concerns(alive[1-me], true)
	}
	c.add(change, step)
}

func (r attachedTo) state(me int) State {
	if r.node == 0 && r.epoch == 0 {
		return Missing
	}
	return whose(r.node, me)
}

func (c changes) restore(before restoreState, step Step, after restoreState) {
	if step.Name == etcdIsRestored {
		return
	}
	for n := range before.session {
		c.session(nodeKeys{generation: before.generation[n], session: before.session[n]},
			nodeKeys{generation: after.generation[n], session: after.session[n]}, step)
	}
	if before.cluster != after.cluster {
		name := Step{Name: "session.Handshake"}
		if after.recorded != 0 {
			name = step
		}
		c.add(Change{Of: Cluster, From: before.says(), To: after.says(), Waited: after.recorded != 0}, name)
	}
	if before.owner != after.owner {
		me := int(step.Node)
		change := Change{Of: Address, From: whose(before.owner, me), To: whose(after.owner, me), Alive: before.session[me]}
		change.In = before.says()
		change.concerns(before.session[1-me], true)
		c.add(change, step)
	}
}

// says is what the cluster's key says.
func (e *etcd) says() State {
	switch e.recorded {
	case 0:
		return Void
	case e.id:
		return Certain
	}
	return Foreign
}

// concerns fills in what is said of another node only where one is concerned.
func (c *Change) concerns(alive, waited bool) {
	c.OtherAlive = alive && (c.From == Other || c.To == Other)
	c.Waited = waited && c.From == Other
}

// whose an address is that has an owner: 0 nobody, else a node's number plus one.
func whose(owner int8, me int) State {
	switch int(owner) {
	case 0:
		return Nobodys
	case me + 1:
		return Self
	}
	return Other
}

func presence(session bool) State {
	if session {
		return Present
	}
	return Absent
}
