// Package faults runs a cluster of the lab under faults, while containers come, go and move, and judges what the
// network showed. A seed makes a plan, and the same plan each time; what then happens may differ.
package faults

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/berth-ipam/berth/e2e/faults/check"
	"github.com/berth-ipam/berth/e2e/faults/watch"
	"github.com/berth-ipam/berth/e2e/lab"
)

// Size says how large a cluster is, and by what times it fences.
type Size struct {
	Nodes, Members, Replicas int // members are of stateful apps, replicas of stateless ones
	Pool, Stateful           netip.Prefix
	Block                    int  // prefix length
	Both                     bool // there are as many of IPv6, and each container has one of each
	Session, AddressLease    time.Duration
}

func (s Size) places() int { return s.Members + s.Replicas }

// A world is a cluster under test, and all that is known of it.
type world struct {
	lab     *lab.Lab
	mode    Mode
	size    Size
	rules   check.Rules
	begin   time.Time
	watcher *watch.Watcher
	tokens  chan struct{} // requests at once
	nodes   []*host

	mu      sync.Mutex
	history check.History
	open    map[*check.Absence]bool
	live    map[*instance]bool // every container whose DEL has not succeeded yet
	macs    int
	marks   map[marked]check.MAC   // of containers, as others see them whose mode is not flat
	leading map[leading]*check.Way // where nodes lead to members' addresses now
	members map[netip.Addr]bool    // addresses that members were answered
	counted map[string]int         // deeds, and faults that did not come about, by kind and what became of them
	kinds   []Kind                 // that the plan is made of
	struck  map[Kind]tally
	// since when etcd has had no session of a node
	sessionless map[string]time.Duration
	ghosts      sync.WaitGroup // DELs of containers that have been replaced
	exits       []exit         // of agents that ended by themselves
	places      []*place       // what is meant to be there in the end
	settled     time.Duration  // how long after the last fault all must agree
}

// A host is a node, and what the nemesis does with it.
type host struct {
	*lab.Node
	mu    sync.Mutex // held by whoever starts or ends its agent
	boots int        // under world.mu
	mark  byte       // that was given last; under world.mu
	reach reach
}

// atOnce is how many requests run at a time: each is a process.
const atOnce = 5

func (w *world) now() time.Duration { return time.Since(w.begin) + 1 }

func (w *world) count(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counted[what]++
}

func (w *world) heard(s check.Sighting) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.history.Sightings = append(w.history.Sightings, s)
}

// away says that a node has no agent that runs, from now until the function is called.
func (w *world) away(reason Kind, h *host) (back func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	a := &check.Absence{Node: h.Name, Reason: string(reason), Begin: w.now()}
	w.open[a] = true
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.open[a] {
			delete(w.open, a)
			a.End = w.now()
			w.history.Absences = append(w.history.Absences, *a)
		}
	}
}

// suffers tells people of a fault that lasts from now until the function is called. A node of no name is everyone.
func (w *world) suffers(what Kind, node string) (over func()) {
	begin := w.now()
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.history.Faults = append(w.history.Faults, check.Fault{What: string(what), Node: node, Begin: begin, End: w.now()})
	}
}

// soFar is the history until now; without the sightings, which are many, where they are not wanted.
func (w *world) soFar(sightings bool) *check.History {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := w.history
	h.Operations, h.Reboots, h.Restores = slices.Clone(h.Operations), slices.Clone(h.Reboots), slices.Clone(h.Restores)
	h.Absences, h.Revocations, h.Faults = slices.Clone(h.Absences), slices.Clone(h.Revocations), slices.Clone(h.Faults)
	for a := range maps.Keys(w.open) {
		until := *a
		until.End = w.now()
		h.Absences = append(h.Absences, until)
	}
	h.Ways, h.Nodes = slices.Clone(h.Ways), w.names()
	for _, way := range w.leading {
		h.Ways = append(h.Ways, *way)
	}
	h.Sessionless = slices.Clone(h.Sessionless)
	for node, since := range w.sessionless {
		h.Sessionless = append(h.Sessionless, check.Absence{Node: node, Begin: since, End: w.now()})
	}
	for _, n := range w.nodes {
		if since, long := n.reach.silence(w.now()); long {
			h.Absences = append(h.Absences, check.Absence{Node: n.Name, Reason: cutOff, Begin: since, End: w.now()})
		}
	}
	if h.End == 0 {
		h.End = w.now()
	}
	h.Turns = w.watcher.Turns()
	if h.Sightings = nil; sightings {
		h.Sightings = slices.Clone(w.history.Sightings)
	}
	return &h
}

// An instance is a container of the harness.
type instance struct {
	*lab.Container
	key    string // what the history calls it
	host   *host
	boot   int // of the host, when it was made
	member string
	mac    check.MAC
	mark   byte
	had    []netip.Addr // what its ADD answered
	ending atomic.Bool  // a DEL of it has begun: whatever became of that, it is not meant to be there
}

// make makes a container with a MAC of its own, by which the network tells it from others.
func (w *world) make(h *host, member string) (*instance, error) {
	w.mu.Lock()
	w.macs++
	i := &instance{host: h, boot: h.boots, member: member, mac: check.MAC{0x02, 0xfa, 0, 0, byte(w.macs >> 8), byte(w.macs)}}
	w.mu.Unlock()
	mac := fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", i.mac[0], i.mac[1], i.mac[2], i.mac[3], i.mac[4], i.mac[5])
	args := []string{"MAC", mac, "BERTH_NAMESPACE", "shop", "BERTH_APP", "web"}
	if member != "" {
		args = []string{"MAC", mac, "BERTH_CLASS", "stateful", "BERTH_NAMESPACE", "shop", "BERTH_APP", "db", "BERTH_MEMBER", member}
	}
	var err error
	if i.Container, err = h.Container(w.lab.NextID(), w.mode.network(), args...); err != nil {
		return nil, err
	}
	i.key = i.ID
	w.mu.Lock()
	w.live[i] = true
	w.mu.Unlock()
	if w.mode.Subnet {
		return i, nil
	}
	return i, w.mark(i)
}

// dead reports whether the container's node has been rebooted since.
func (w *world) dead(i *instance) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return i.boot != i.host.boots
}

func (w *world) forget(i *instance) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.live, i)
}

// on are the containers of a host that are not gone.
func (w *world) on(h *host) (all []*lab.Container) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.live {
		if i.host == h && i.boot == h.boots {
			all = append(all, i.Container)
		}
	}
	return all
}

// ask runs a request and enters it into the history.
func (w *world) ask(ctx context.Context, verb check.Verb, i *instance, patience time.Duration, request func(context.Context) error) error {
	w.tokens <- struct{}{}
	defer func() { <-w.tokens }()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	o := check.Operation{Verb: verb, Container: i.key, Node: i.host.Name, Member: i.member, MAC: i.mac, Begin: w.now()}
	err := request(ctx)
	w.enter(o, err, i)
	return err
}

// enter puts a request that has ended into the history.
func (w *world) enter(o check.Operation, err error, i *instance) {
	o.End, o.Outcome = w.now(), check.OK
	if err != nil {
		o.Outcome, o.Words = check.Lost, err.Error()
		if failure, said := errors.AsType[*types.Error](err); said && !strings.Contains(failure.Msg, killed) {
			o.Outcome = check.Refused
		}
	} else if o.Verb == check.Add {
		o.Addresses = slices.Clone(i.All)
		i.had = slices.Clone(i.All)
		w.watcher.Mind(i.had...)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range o.Addresses {
		if o.Member != "" {
			w.members[a] = true
		}
	}
	w.history.Operations = append(w.history.Operations, o)
}

// killed is what libcni says of a plugin that was ended before it answered.
const killed = "netplugin failed with no error message"

// Patience of requests. An agent that is paused answers nobody.
const (
	addPatience = 12 * time.Second
	delPatience = 12 * time.Second
	anyPatience = 8 * time.Second
)

func (w *world) add(ctx context.Context, i *instance) error {
	return w.ask(ctx, check.Add, i, addPatience, func(ctx context.Context) error {
		_, err := i.Add(ctx)
		return err
	})
}

// del asks for DEL until it succeeds, as a runtime does. A container whose node was rebooted is gone without.
func (w *world) del(ctx context.Context, i *instance) error {
	i.ending.Store(true)
	for {
		if w.dead(i) {
			w.forget(i)
			return nil
		}
		err := w.ask(ctx, check.Del, i, delPatience, i.Del)
		if err == nil {
			w.forget(i)
			return i.Remove()
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(500 * time.Millisecond):
		}
	}
}
