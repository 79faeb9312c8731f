package sim

import (
	"fmt"
	"net/netip"
	"time"
)

// silence is how long a container that has a right may be silent: as long as an ADD again may take that makes its port anew.
const silence = 5 * time.Second

// listen judges that a container whose node nothing disturbs, and of which etcd says that it has its addresses, is heard.
func (j *judge) listen(c *container) {
	why, heard := "", true
	for _, a := range c.fate().addresses {
		if why = j.entitled(c, a); why == "" { // one that has lost an address of one family is cut with the other
			break
		}
		heard = heard && j.answers(c, a)
	}
	if why == "" || heard {
		c.becomes(func(f *fate) { f.silent = time.Time{} })
		return
	}
	if since := c.silentSince(); time.Since(since) >= silence {
		j.cluster.violate(Violation{Rule: "silent", What: fmt.Sprintf("%v is silent since %s; its node is undisturbed, and %s", c,
			since.Sub(j.cluster.began), why)})
	}
}

// silentSince is since when the container is silent: from now on, if it was not.
func (c *container) silentSince() (since time.Time) {
	c.becomes(func(f *fate) {
		if f.silent.IsZero() {
			f.silent = time.Now()
		}
		since = f.silent
	})
	return since
}

// entitled says why a container has a right to an address for some time already; empty: it may have none.
func (j *judge) entitled(c *container, a netip.Addr) string {
	o, f := j.cluster.observer, c.fate()
	session := o.session(c.node.name)
	switch {
	case !c.running() || time.Since(f.answered) < settled || !c.node.alive() || !j.cluster.calm.quiet(c.node.name, settled):
	case !session.there || time.Since(session.since) < settled || !o.settledSince(settled):
	case c.place.member != "":
		h := o.holder(c.place.pool, a)
		its := !h.damaged && h.Holder != nil && h.Holder.Node == c.node.name && h.Holder.Attachment.Container == c.id
		if its && time.Since(h.since) >= settled {
			return "its member's reservation is attached to it"
		}
	default:
		owner, since := o.owner(a)
		g := o.assigned(c.place.pool, a)
		its := owner == c.node.name && g.node == c.node.name && g.container == c.id
		if its && time.Since(since) >= settled && time.Since(g.since) >= settled {
			return "its node owns the block, and the address is assigned to it"
		}
	}
	return ""
}
