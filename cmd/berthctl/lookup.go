package main

import (
	"context"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/record"
)

// What can be the matter with an address.
const (
	stateAssigned  = "assigned"  // a stateless container has it
	stateAttached  = "attached"  // the member that it is reserved for has it
	stateReserved  = "reserved"  // it is kept for a member that does not run
	stateFree      = "free"      // it lies in a block with an owner
	stateUnclaimed = "unclaimed" // nobody owns its block
	stateExcluded  = "excluded"  // it is never given out
	stateReleased  = "released"  // it was reserved until now
)

// A holding is an address, and who has it where since when.
type holding struct {
	Address   netip.Addr `json:"address"`
	Pool      string     `json:"pool"`
	State     string     `json:"state"`
	Class     string     `json:"class,omitempty"`
	Namespace string     `json:"namespace,omitempty"`
	App       string     `json:"app,omitempty"`
	Member    string     `json:"member,omitempty"`
	Workload  string     `json:"workload,omitempty"` // NAMESPACE/NAME of the pod, or of what else the container was made for
	UID       string     `json:"workloadUID,omitempty"`
	Network   string     `json:"network,omitempty"`
	Container string     `json:"container,omitempty"`
	Interface string     `json:"interface,omitempty"`
	Node      string     `json:"node,omitempty"`     // where it is, and of a free address who owns it
	Since     *time.Time `json:"since,omitempty"`    // when the container got it
	Reserved  *time.Time `json:"reserved,omitempty"` // when the member got it
}

// lookup finds what a word means: an address, a container, an app or a member of one. Something is found, or it fails.
func lookup(ctx context.Context, store *lease.Operator, word string) ([]holding, error) {
	if a, err := netip.ParseAddr(word); err == nil {
		h, err := lookupAddress(ctx, store, a.Unmap())
		return []holding{h}, err
	}
	all, err := holdings(ctx, store)
	if err != nil {
		return nil, err
	}
	found := matching(all, word)
	if len(found) == 0 {
		return nil, fmt.Errorf("nothing in the cluster is called %q: no container, and no app, member or pod that has an address", word)
	}
	return found, nil
}

// matching picks those of an app, a member, a pod or a container; of a container's ID the beginning will do.
func matching(all []holding, word string) []holding {
	pick := func(has func(holding) bool) (found []holding) {
		for _, h := range all {
			if has(h) {
				found = append(found, h)
			}
		}
		return found
	}
	if strings.Contains(word, "/") {
		return pick(func(h holding) bool {
			return h.App != "" && (h.who() == word || h.Namespace+"/"+h.App == word) || h.Workload == word
		})
	}
	if exact := pick(func(h holding) bool { return h.Container == word || h.UID == word }); exact != nil {
		return exact
	}
	if pods := pick(func(h holding) bool { return h.Workload != "" && path.Base(h.Workload) == word }); pods != nil {
		return pods
	}
	return pick(func(h holding) bool { return strings.HasPrefix(h.Container, word) })
}

// holdings are all addresses that are assigned or reserved, in their order.
func holdings(ctx context.Context, store *lease.Operator) ([]holding, error) {
	assignments, err := store.Blocks.Assignments(ctx)
	if err != nil {
		return nil, err
	}
	reservations, err := store.Reservations.List(ctx)
	if err != nil {
		return nil, err
	}
	var all []holding
	for _, a := range assignments {
		all = append(all, assigned(a))
	}
	for _, r := range reservations {
		all = append(all, reserved(r))
	}
	slices.SortFunc(all, func(a, b holding) int { return a.Address.Compare(b.Address) })
	return all, nil
}

func assigned(a record.Assignment) holding {
	return holding{
		Address: a.Address, Pool: a.Pool, State: stateAssigned, Class: string(allocator.Stateless),
		Namespace: a.App.Namespace, App: a.App.Name, Workload: a.Workload.String(), UID: a.Workload.UID,
		Network: a.Attachment.Network, Container: a.Attachment.Container, Interface: a.Attachment.Interface,
		Node: a.Node, Since: &a.Since,
	}
}

func reserved(r record.Reservation) holding {
	h := holding{
		Address: r.Address, Pool: r.Pool, State: stateReserved, Class: string(allocator.Stateful),
		Namespace: r.Identity.Namespace, App: r.Identity.App, Member: r.Identity.Member,
		Network: r.Identity.Network, Interface: r.Identity.Interface, Reserved: &r.Since,
	}
	if r.Holder != nil {
		h.Workload, h.UID = r.Holder.Workload.String(), r.Holder.Workload.UID
		h.State, h.Container, h.Node, h.Since = stateAttached, r.Holder.Attachment.Container, r.Holder.Node, &r.Holder.Since
	}
	return h
}

// lookupAddress says of any address of a pool what is the matter with it.
func lookupAddress(ctx context.Context, store *lease.Operator, a netip.Addr) (holding, error) {
	config, err := store.Config.Read(ctx)
	if err != nil {
		return holding{}, err
	}
	for _, pool := range sortedPools(config) {
		if pool.Contains(a) {
			return inPool(ctx, store, pool, a)
		}
	}
	return holding{}, fmt.Errorf("no pool has the address %s: %s", a, poolWords(config))
}

func inPool(ctx context.Context, store *lease.Operator, pool allocator.Pool, a netip.Addr) (holding, error) {
	reservation, err := store.Reservations.Of(ctx, pool.Name, a)
	if err != nil {
		return holding{}, err
	}
	if reservation != nil {
		return reserved(*reservation), nil
	}
	assignment, err := store.Blocks.Assignment(ctx, pool.Name, a)
	if err != nil {
		return holding{}, err
	}
	if assignment != nil {
		return assigned(*assignment), nil
	}
	h := holding{Address: a, Pool: pool.Name, State: stateUnclaimed}
	if !pool.Usable(a) {
		h.State = stateExcluded
		return h, nil
	}
	blocks, err := store.Blocks.List(ctx)
	for _, block := range blocks {
		for _, part := range block.Parts {
			if block.Pool == pool.Name && part.Prefix.Contains(a) {
				h.State, h.Node = stateFree, part.Owner
			}
		}
	}
	return h, err
}

// poolWords lists the pools and their CIDRs.
func poolWords(config *config.Config) string {
	var words []string
	for _, pool := range sortedPools(config) {
		words = append(words, fmt.Sprintf("%s has %s", pool.Name, join(pool.CIDRs)))
	}
	if len(words) == 0 {
		return "there is no pool yet"
	}
	return strings.Join(words, "; ")
}
