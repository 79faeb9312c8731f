package sim

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/e2e/sim/kernel"
	"github.com/berth-ipam/berth/internal/wire"
)

// A Violation is a promise that was broken.
type Violation struct {
	At   time.Duration // of the run
	Rule string
	What string
}

func (v Violation) String() string { return fmt.Sprintf("%s %s: %s", v.At, v.Rule, v.What) }

// A judge looks at the modelled wire whenever it changes, and at each answer.
type judge struct {
	cluster *Cluster

	mu         sync.Mutex
	containers map[*kernel.Namespace]*container
	reported   map[string]bool
	damages    map[string]string // keys that somebody has spoiled, and what they were
}

func newJudge(c *Cluster) *judge {
	return &judge{cluster: c, containers: map[*kernel.Namespace]*container{}, reported: map[string]bool{}, damages: map[string]string{}}
}

// grace is how long a node that is back may take until it has isolated what it lost.
const grace = 3 * time.Second

// look judges who answers for which address now.
func (j *judge) look() {
	for a, answers := range j.cluster.lan.Twice() {
		var passing []kernel.Answer
		for _, answer := range answers {
			if answer.Passes && (answer.Namespace != nil || j.machines(a, answer)) {
				passing = append(passing, answer)
			}
		}
		for i, one := range passing {
			for _, other := range passing[i+1:] {
				excused := j.excused(one) || j.excused(other) || j.strangers(one, other)
				if (one.Namespace != nil || other.Namespace != nil) && !excused {
					j.unique(a, one, other)
				}
			}
		}
	}
}

func (j *judge) unique(a netip.Addr, one, other kernel.Answer) {
	what := fmt.Sprintf("%s is live twice: in %s and in %s", a, j.name(one), j.name(other))
	j.mu.Lock()
	again := j.reported[what]
	j.reported[what] = true
	j.mu.Unlock()
	if !again {
		j.cluster.violate(Violation{Rule: "unique", What: what})
	}
}

// strangers reports whether a host that is none of Berth's has the address of a container whose ADD is under way: it may have come
// after the wire was asked.
func (j *judge) strangers(one, other kernel.Answer) bool {
	if one.Namespace != nil {
		one, other = other, one
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	c := j.containers[other.Namespace]
	stranger := one.Namespace == nil && !slices.ContainsFunc(j.cluster.nodes, func(n *node) bool { return n.host == one.Host })
	return stranger && c != nil && len(c.fate().addresses) == 0
}

// machines reports whether a host answers for an address that it has had from the beginning. When a node is removed nobody keeps
// its own free.
func (j *judge) machines(a netip.Addr, answer kernel.Answer) bool {
	return slices.Contains(j.cluster.machines, a) && !j.cluster.observer.wasRemoved(answer.Host.Name)
}

func (j *judge) name(a kernel.Answer) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	if c := j.containers[a.Namespace]; c != nil {
		return c.String()
	}
	return "a stranger on " + a.Host.Name
}

// excused reports whether evidence mode allows that a holder still answers: its node has no session, or has just got one again.
func (j *judge) excused(a kernel.Answer) bool {
	if a.Namespace == nil {
		return false
	}
	n := j.cluster.node(a.Host.Name)
	if time.Since(n.suffers().woke) < grace || n.fenceless() {
		return true
	}
	if j.cluster.observer.fences(a.Host.Name) {
		return false
	}
	p := j.cluster.observer.session(a.Host.Name)
	return !p.there || time.Since(p.since) < grace
}

// patrol looks again and again at what no change of the wire shows, until the run ends.
func (j *judge) patrol() {
	for j.cluster.going() {
		for _, c := range j.containersOf(nil) {
			j.lookAt(c)
			j.listen(c)
			j.whole(c)
		}
		for _, n := range j.cluster.nodes {
			j.shown(n)
		}
		time.Sleep(time.Second)
	}
}

// settled is how long a node that has its session may take until what it holds is as etcd says.
const settled = 10 * time.Second

// lookAt judges one container that runs undisturbed on a node that is there.
func (j *judge) lookAt(c *container) {
	f := c.fate()
	session := j.cluster.observer.session(c.node.name)
	if !c.running() || time.Since(f.answered) < settled || !session.there || time.Since(session.since) < settled {
		return
	}
	if time.Since(j.cluster.observer.lost()) < 2*addressLease || !j.cluster.observer.hasPool(c.place.pool) || c.node.unguarded() {
		return
	}
	j.beside(c)
	for _, a := range f.addresses {
		h := j.cluster.observer.holder(c.place.pool, a)
		if c.place.member == "" || h.damaged || time.Since(h.since) < settled || !j.answers(c, a) {
			continue
		}
		if h.Holder == nil || h.Holder.Node != c.node.name || h.Holder.Attachment.Container != c.id {
			j.cluster.violate(Violation{Rule: "held", What: fmt.Sprintf("%v passes, and etcd says that %s is held by %+v", c, a, h.Holder)})
		}
	}
}

// rightful says why a container has a right to what it has, if it is certain that it has; else it is empty.
func (j *judge) rightful(c *container) string {
	for _, a := range c.fate().addresses {
		h := j.cluster.observer.holder(c.place.pool, a)
		if c.place.member == "" || h.damaged || time.Since(h.since) < settled || !c.running() || !j.answers(c, a) {
			return ""
		}
		if h.Holder == nil || h.Holder.Node != c.node.name || h.Holder.Attachment.Container != c.id {
			return ""
		}
	}
	return "it passes, and etcd says that it holds what it has"
}

// register tells the judge of a container before its ADD.
func (j *judge) register(c *container) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.containers[c.ns] = c
}

func (j *judge) forget(c *container) {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.containers, c.ns)
}

// containersOf are a node's, or all, by their IDs.
func (j *judge) containersOf(n *node) (all []*container) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, c := range j.containers {
		if n == nil || c.node == n {
			all = append(all, c)
		}
	}
	slices.SortFunc(all, func(a, b *container) int {
		return cmp.Or(cmp.Compare(a.id, b.id), cmp.Compare(a.ns.Path(), b.ns.Path()))
	})
	return all
}

// answered judges an ADD that has succeeded.
func (j *judge) answered(c *container, given []netip.Addr) {
	former, unknown := c.fate().addresses, c.fate().mangled && c.node.suffers().forgot // neither journal nor port names it
	if len(former) > 0 && c.lives() && !unknown && !slices.Equal(former, given) {
		j.cluster.violate(Violation{Rule: "idempotent", What: fmt.Sprintf("ADD again of %v answers %v", c, given)})
	}
	j.rightly(c, given)
	c.becomes(func(f *fate) {
		if f.addresses, f.answered = given, time.Now(); f.had.IsZero() {
			f.had = f.answered
		}
	})
	if len(given) == 0 {
		j.cluster.violate(Violation{Rule: "truth", What: fmt.Sprintf("ADD of %v answers no address", c)})
	} else if c.place.member != "" {
		j.keeps(c.place, given, "its new container")
	}
	for _, a := range given {
		if !c.ns.Has(a) && c.lives() {
			j.cluster.violate(Violation{Rule: "truth", What: fmt.Sprintf("ADD of %v was answered, and its namespace has no %v", c, a)})
		}
	}
}

// keeps judges what somebody is answered that a member has.
func (j *judge) keeps(p *place, given []netip.Addr, who string) {
	switch {
	case p.kept == nil || p.doubtful.CompareAndSwap(true, false):
		p.kept = given
	case !slices.Equal(p.kept, given):
		j.cluster.violate(Violation{Rule: "kept", What: fmt.Sprintf("%s had %v, and %s is answered %v", p.name, p.kept, who, given)})
	}
}

// refused judges an ADD that the agent has refused: nothing of it is left that passes, unless the kernel fails, or a former agent
// was asked first and has ended.
func (j *judge) refused(c *container, err error) {
	j.costs(c, err)
	f, suffers := c.fate(), c.node.suffers()
	_, said := errors.AsType[*wire.Error](err)
	if !said || len(f.addresses) > 0 || suffers.kernel > 0 || suffers.started.After(f.asked) {
		return
	}
	for _, a := range c.ns.Addresses() {
		if j.answers(c, a) {
			j.cluster.violate(Violation{Rule: "truth", What: fmt.Sprintf("ADD of %v was refused (%v), and it passes with %s", c, err, a)})
		}
	}
}

// answers reports whether a container answers for an address, and its frames pass.
func (j *judge) answers(c *container, a netip.Addr) bool {
	return slices.ContainsFunc(j.cluster.lan.Answers(a), func(answer kernel.Answer) bool { return answer.Namespace == c.ns && answer.Passes })
}

// isolated reports whether a container is cut off for good: etcd says that what it has is not its own, or that it is nobody's.
func (j *judge) isolated(c *container) bool {
	for _, a := range c.fate().addresses {
		if j.answers(c, a) {
			return false
		}
	}
	p := c.node.agent.Load()
	at := allocator.Attachment{Network: network, Container: c.id, Interface: iface}
	if p == nil {
		return false
	}
	forgotten := c.node.suffers().forgot && p.agent.Journal.Get(at) == nil // its port is set aside
	return forgotten || p.agent.Journal.Isolation(at) != nil
}
