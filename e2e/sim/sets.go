package sim

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/berth-ipam/berth/e2e/sim/kernel"
	"github.com/berth-ipam/berth/internal/wire"
)

// atPlaces is for a deed at several places, each of them once. They are locked in one order.
func atPlaces(f func(*Cluster, []*place, Step) error) func(*Cluster, Step) error {
	return func(c *Cluster, s Step) error {
		names := strings.Split(s.Place, ",")
		slices.Sort(names)
		var places []*place
		for _, name := range slices.Compact(names) {
			p := c.place(name)
			p.lock()
			defer p.unlock()
			places = append(places, p)
		}
		if !c.going() {
			return errSkipped
		}
		return f(c, places, s)
	}
}

// flaws make one container of a set a bad one. The request refuses it, or only the agent can.
var flaws = []func(r *wire.Request, i int){
	func(r *wire.Request, i int) { r.Containers[i].Pool = "nowhere" },
	func(r *wire.Request, i int) { r.Containers[i].Netns, r.Containers[i].NetnsFile = "/run/netns/none", 0 },
	func(r *wire.Request, i int) { r.Containers[i].Addresses = []string{"10.99.0.1"} },
	func(r *wire.Request, i int) { r.Containers[i].MAC = "01:00:00:00:00:01" },
	func(r *wire.Request, i int) { r.Containers[i].Class, r.Containers[i].App = "stateful", "" },
	func(r *wire.Request, i int) { r.Containers = append(r.Containers, r.Containers[i]) },
}

// insertSet adds a container for each place that has none, with one request: all or none. One may be bad: then it is none.
func insertSet(c *Cluster, places []*place, s Step) error { return insertTogether(c, places, s, false) }

// insertEach is insertSet of each, whatever becomes of the others.
func insertEach(c *Cluster, places []*place, s Step) error { return insertTogether(c, places, s, true) }

func insertTogether(c *Cluster, places []*place, s Step, each bool) error {
	n := c.node(s.Node)
	places = slices.DeleteFunc(places, func(p *place) bool { return p.current != nil && p.current.there() })
	if n == nil || len(places) == 0 {
		return errSkipped
	}
	var set []*container
	r := &wire.Request{Operation: wire.Insert, Verb: "ADD", Each: each}
	for _, p := range places {
		k, err := p.create(n)
		if err != nil {
			return err
		}
		if p.current != nil {
			p.former = append(p.former, p.current)
		}
		p.current = k
		set = append(set, k)
		k.becomes(func(f *fate) { f.together, f.each = true, each })
		sent := k.request
		sent.NetnsFile = len(set)
		r.Containers = append(r.Containers, sent)
	}
	bad := -1
	if s.Choice < len(flaws) {
		bad = s.Choice % len(set)
		flaws[s.Choice](r, bad)
	}
	response, err := n.callSet(r, set)
	if err == nil && bad >= 0 && (!each || response.Results[bad].Error == nil) {
		c.violate(Violation{Rule: "truth", What: fmt.Sprintf("a set with the bad container %+v was answered", r.Containers[bad])})
	}
	var errs []error
	for i, k := range set {
		one := err
		if err == nil && response.Results[i].Error != nil {
			one = response.Results[i].Error
		}
		if one != nil {
			errs = append(errs, one)
			c.judge.refused(k, one)
			k.remove()
			continue
		}
		k.given(response.Results[i])
		c.judge.answered(k, addressesOf(response.Results[i]))
	}
	if bad >= 0 && len(errs) == 1 {
		return nil // as it is to be
	}
	return errors.Join(errs...)
}

func addressesOf(r wire.Result) (given []netip.Addr) {
	for _, a := range r.Addresses {
		given = append(given, a.Address.Addr())
	}
	return given
}

// callSet asks with the namespaces of a set.
func (n *node) callSet(r *wire.Request, set []*container) (*wire.Response, error) {
	var namespaces []*kernel.Namespace
	for _, k := range set {
		namespaces = append(namespaces, k.ns)
	}
	return n.call(patience, redial, r, namespaces...)
}

// deleteSet deletes the containers of the places that are on the node of the first one, with one request, and as often as it takes.
func deleteSet(c *Cluster, places []*place, _ Step) error {
	var set []*container
	r := &wire.Request{Operation: wire.Delete, Verb: "DEL"}
	for _, p := range places {
		if k := p.current; k != nil && k.there() && (len(set) == 0 || k.node == set[0].node) {
			sent := k.request
			sent.Netns, sent.NetnsFile = "", 0
			set, r.Containers = append(set, k), append(r.Containers, sent)
			k.becomes(func(f *fate) { f.ending = true })
		}
	}
	if len(set) == 0 {
		return errSkipped
	}
	_, err := set[0].node.call(patience, redial, r)
	for _, k := range set {
		k.remove() // what has been deleted already is a success
	}
	return err
}

// open opens the files of namespaces.
func open(namespaces []*kernel.Namespace) (files []*os.File, err error) {
	for _, ns := range namespaces {
		f, err := ns.Open()
		if err != nil {
			closeAll(files)
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
