package addresses

import (
	"slices"

	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/internal/lockorder"
	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/lease/record"
)

// requested are the addresses that this node demands by name from the owners of their parts: those that ADDs wait for, and the
// machine's own.
type requested struct {
	mu      lockorder.Subject
	adds    map[ipam.Address][]task.Signal
	machine map[ipam.Address]bool
}

// join registers an ADD that waits for an address. Its signal is raised when something has changed.
func (w *requested) join(at ipam.Address) task.Signal {
	me := task.NewSignal()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.adds == nil {
		w.adds = map[ipam.Address][]task.Signal{}
	}
	w.adds[at] = append(w.adds[at], me)
	return me
}

func (w *requested) leave(at ipam.Address, me task.Signal) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.adds[at] = slices.DeleteFunc(w.adds[at], func(each task.Signal) bool { return each == me }); len(w.adds[at]) == 0 {
		delete(w.adds, at)
	}
}

// wake wakes the ADDs that wait for an address of a pool.
func (w *requested) wake(pool string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for at, all := range w.adds {
		if at.Pool == pool {
			for _, each := range all {
				each.Raise()
			}
		}
	}
}

// SetMachine replaces the machine's addresses that other nodes own, and reports whether they have changed.
func (w *requested) SetMachine(all map[ipam.Address]bool) (news bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	news = len(all) != len(w.machine)
	for at := range all {
		news = news || !w.machine[at]
	}
	w.machine = all
	return news
}

// demandedAtOnce bounds how many addresses a demand names. The others follow when these are met.
const demandedAtOnce = 64

// Into adds the requested addresses to the demands of each pool.
func (w *requested) Into(demands map[string]record.Demand) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for at := range w.adds {
		d := demands[at.Pool]
		if d.Pool = at.Pool; len(d.Addresses) < demandedAtOnce {
			d.Addresses = append(d.Addresses, at.Addr)
		}
		demands[at.Pool] = d
	}
	for at := range w.machine {
		d := demands[at.Pool]
		if d.Pool = at.Pool; len(d.Machine) < demandedAtOnce {
			d.Machine = append(d.Machine, at.Addr)
		}
		demands[at.Pool] = d
	}
}
