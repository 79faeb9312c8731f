package sim

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// whole judges that nobody has taken from a running container what it has. A kernel that fails may have.
func (j *judge) whole(c *container) {
	f := c.fate()
	taken := netip.Addr{}
	for _, a := range f.addresses {
		if c.running() && !f.asked.After(f.answered) && c.node.suffers().kernel == 0 && !c.ns.Has(a) {
			taken = a
		}
	}
	if missed := f.missed; taken.IsValid() && missed && c.running() {
		j.cluster.violate(Violation{Rule: "let go", What: fmt.Sprintf("%v runs, and has no %s any more", c, taken)})
	}
	c.becomes(func(f *fate) { f.missed = taken.IsValid() })
}

// gaveUp reports whether a node may go on with what it holds though another has it by now: by evidence, a moment without a session.
func (j *judge) gaveUp(n *node, session presence) bool {
	return !j.cluster.observer.fences(n.name) && (!session.there || time.Since(session.since) < grace)
}

// turned is since when an address of a container's is or was a gateway, unless a restore of etcd has made it one that the container
// had it before.
func (j *judge) turned(c *container, a netip.Addr) (since time.Time, is bool) {
	since, is = j.cluster.observer.gateway(a)
	lost := j.cluster.observer.lost()
	erased := c.place.member == "" && j.cluster.byHand.Load() // perhaps nothing told that somebody has the address
	return since, is && !erased && !(c.fate().had.Before(lost) && !since.Before(lost))
}

// rightly judges that an ADD is answered by a node that has a right to, and with what is nobody else's.
func (j *judge) rightly(c *container, given []netip.Addr) {
	f, session := c.fate(), j.cluster.observer.session(c.node.name)
	if c.node.suffers().paused.After(f.asked) || c.node.suffers().woke.After(f.asked) || j.cluster.observer.lost().After(f.asked) {
		return
	}
	right := addressLease
	if c.place.member != "" {
		right = longestSession
	}
	right = max(right, j.cluster.observer.right(c.node.name, c.place.member != ""))
	away := time.Since(session.since)
	if f.each {
		away -= time.Since(f.asked)
	}
	if !session.there && !session.since.IsZero() && away > right+time.Second {
		j.cluster.violate(Violation{Rule: "right", What: fmt.Sprintf("ADD of %v is answered %v, by a node without a session for %s", c,
			given, away)})
	}
	for _, a := range given {
		h := j.cluster.observer.holder(c.place.pool, a)
		forgot := time.Since(j.cluster.observer.lost()) < 2*addressLease // it says what was before, until agents have asserted what is
		sure := !forgot && !h.damaged && !j.gaveUp(c.node, session)
		if c.place.member != "" && sure && h.Holder != nil && h.since.Before(f.asked) && h.Holder.Attachment.Container != c.id {
			j.cluster.violate(Violation{Rule: "right", What: fmt.Sprintf("ADD of %v is answered %s, which %+v holds", c, a, h.Holder)})
		}
		if since, former := j.turned(c, a); former && since.Before(f.asked) {
			j.cluster.violate(Violation{Rule: "gateway", What: fmt.Sprintf("ADD of %v is answered %s, which is or was a gateway", c, a)})
		}
	}
}

// beside judges that no gateway is what a container passes with.
func (j *judge) beside(c *container) {
	for _, a := range c.fate().addresses {
		if since, is := j.turned(c, a); is && time.Since(since) > settled && j.answers(c, a) {
			j.cluster.violate(Violation{Rule: "gateway", What: fmt.Sprintf("%v passes with %s, which is a gateway by now", c, a)})
		}
	}
}

// damaged tells the judge of a record that somebody has spoiled, and what it was.
func (j *judge) damaged(key, was string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.damages[key] = was
}

func (j *judge) repaired(key string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.damages, key)
}

// costs judges that a damaged record refuses nothing but what is its own.
func (j *judge) costs(c *container, err error) {
	said, refused := errors.AsType[*wire.Error](err)
	if f := c.fate(); !refused || f.together && !f.each {
		return // of a set that is done whole or not at all, another may be what needs the record
	}
	if key := j.blamed(c, said.Error()); key != "" {
		j.cluster.violate(Violation{Rule: "costs", What: fmt.Sprintf("ADD of %v was refused for %s, which is none of its own: %v", c, key, err)})
	}
}

// blamed is a damaged record that is named and is none that a container's ADD needs.
func (j *judge) blamed(c *container, words string) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	for key, was := range j.damages {
		if at, err := keys.Parse(key); err == nil && general[at.Kind] && len(j.damages) > 1 {
			continue
		}
		if strings.Contains(words, "record at "+key+" cannot") && !own(c, key, was) {
			return key
		}
	}
	return ""
}

// general are the records of the configuration and of its history, of which each stands in for the others.
var general = map[kv.Kind]bool{kv.KindRevision: true, kv.KindSettings: true, kv.KindHistory: true}

// own reports whether a record is one that a container's ADD needs.
func own(c *container, name, was string) bool {
	key, err := keys.Parse(name)
	if err != nil {
		return false // a key that means nothing
	}
	switch key.Kind {
	case kv.KindIdentity:
		return key.Identity == c.place.identity()
	case kv.KindReservation:
		var r record.Reservation
		return json.Unmarshal([]byte(was), &r) != nil || r.Identity == c.place.identity()
	case kv.KindBlock:
		return c.place.member != "" // its reservation may lie in it
	case kv.KindNode: // nothing is taken from a node whose record cannot be read
		return key.Node == c.node.name || c.place.member != "" && c.place.heldBy() == key.Node
	case kv.KindStatus:
		return key.Node == c.node.name
	case kv.KindPool:
		return key.Pool == c.place.pool
	}
	return false
}

// shown judges that a node which is in order shows its status.
func (j *judge) shown(n *node) {
	session := j.cluster.observer.session(n.name)
	since, missing := j.cluster.observer.statusless(n.name)
	ok := n.alive() && session.there && time.Since(session.since) > settled && j.cluster.calm.quietAlone(n.name, settled)
	if missing && ok && time.Since(since) > 3*settled {
		j.cluster.violate(Violation{Rule: "status", What: fmt.Sprintf("%s has no status for %s", n.name, time.Since(since))})
	}
}

// heldBy is the node that etcd says has the member's addresses.
func (p *place) heldBy() string {
	for _, a := range p.kept {
		if h := p.cluster.observer.holder(p.pool, a); h.Holder != nil {
			return h.Holder.Node
		}
	}
	return ""
}
