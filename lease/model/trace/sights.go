package trace

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/model"
	"github.com/berth-ipam/berth/lease/record"
)

// States that no model has, and that are no step's.
const (
	unread   model.State = "a record that cannot be read"
	unfit    model.State = "a session that is not of the node's generation"
	usurped  model.State = "another machine's"
	exchange model.State = "another attachment's by the same epoch"
	renamed  model.State = "another identity's"
)

// sights are what a transaction makes of all that the models have.
func (c *Checker) sights(t Transaction) (all []sight) {
	nodes := map[string]bool{}
	for _, e := range t.Events {
		key, err := c.keys.Parse(string(e.Kv.Key))
		if err != nil {
			all = append(all, sight{what: err.Error()})
			continue
		}
		switch key.Kind {
		case kv.KindCluster:
			all = c.see(all, "the cluster's key", model.Change{
				Of: model.Cluster, From: c.recorded, To: c.says(e), Waited: c.recorded == model.Void && c.says(e) == model.Certain && c.recovered(t.At),
			})
		case kv.KindNode, kv.KindSession:
			if !nodes[key.Node] {
				nodes[key.Node] = true
				all = c.see(all, "node "+key.Node, c.session(key.Node, t))
			}
		case kv.KindBlock:
			all = c.block(all, e, key, t)
		case kv.KindReservation:
			all = c.reservation(all, e, key, t)
		}
	}
	return all
}

// see adds a sight, unless nothing has changed.
func (c *Checker) see(all []sight, what string, each ...model.Change) []sight {
	if len(each) == 0 || each[0].From == each[0].To && each[0].Raised == 0 {
		return all
	}
	return append(all, sight{what: fmt.Sprintf("%s goes from %s to %s", what, each[0].From, each[0].To), each: each})
}

// session is what becomes of a node's two keys.
func (c *Checker) session(name string, t Transaction) model.Change {
	was := *c.node(name)
	is := was
	for _, e := range t.Events {
		if key, err := c.keys.Parse(string(e.Kv.Key)); err == nil && key.Node == name && (key.Kind == kv.KindNode || key.Kind == kv.KindSession) {
			is = is.after(c, key.Kind, e)
		}
	}
	change := model.Change{Of: model.Session, From: model.Absent, To: model.Absent, Raised: int8(cmp.Compare(is.generation, was.generation))}
	if was.alive() {
		change.From = model.Present
	}
	switch {
	case was.damaged && !is.removed() && is.session == was.session: // somebody repairs it: nobody can tell what it was
		change.To, change.Raised = change.From, 0
	case is.alive() && was.record.Machine != "" && was.record.Machine != is.record.Machine && !was.removed():
		change.To = usurped
	case is.alive():
		change.To = model.Present
	case is.session > 0 && is.session != was.session, is.generation != was.generation && !is.removed():
		change.To = unfit
	case is.generation != was.generation:
		change.Waited = c.removable(name, t.At)
	}
	return change
}

// block is what becomes of each piece of a block whose owner is another.
func (c *Checker) block(all []sight, e *clientv3.Event, key kv.Key, t Transaction) []sight {
	was, is := c.blocks[string(e.Kv.Key)], record.Block{Pool: key.Pool}
	if e.Type == mvccpb.PUT {
		var err error
		if is, err = record.BlockCodec.Read(c.keys, e.Kv); err != nil {
			return c.see(all, "block "+key.Address.String(), model.Change{Of: model.Address, From: model.Nobodys, To: unread})
		}
	}
	if was.damaged {
		return all
	}
	for _, piece := range pieces(was.Parts, is.Parts) {
		from, _ := was.PartOf(piece.Addr())
		to, _ := is.PartOf(piece.Addr())
		if from.Owner == to.Owner && from.Node == to.Node {
			continue
		}
		what := fmt.Sprintf("%s of %q, which %q has had and %q has", piece, key.Pool, from.Owner+from.Node, to.Owner+to.Node)
		all = c.see(all, what, c.address(from, to, t)...)
	}
	return all
}

// address is what becomes of an address of a block, by who may have done it.
func (c *Checker) address(from, to record.Part, t Transaction) (each []model.Change) {
	change := model.Change{Of: model.Address, From: state(from, model.Other), To: state(to, model.Self), In: c.in()}
	if change.To == model.Self {
		by := change
		by.Alive = c.node(to.Owner).alive()
		if by.From == model.Other {
			by.OtherAlive, by.Waited = c.node(from.Owner).alive(), c.waited(from.Owner, allocator.Stateless, t.At)
		}
		each = append(each, by)
	}
	if change.From == model.Other {
		by := change
		by.From, by.Alive = model.Self, c.node(from.Owner).alive()
		if to.Owner == record.OwnerMachine {
			by.OtherAlive = c.node(to.Node).alive()
		}
		if by.To == model.Self {
			by.To, by.OtherAlive = model.Other, c.node(to.Owner).alive()
		}
		each = append(each, by)
	}
	if change.From == model.Other && change.To == model.Nobodys { // an operator
		by := change
		by.Alive, by.OtherAlive, by.Waited = true, c.node(from.Owner).alive(), c.node(from.Owner).removed()
		each = append(each, by)
	}
	if len(each) == 0 {
		each = append(each, change)
	}
	return each
}

// state is whose a part is, where a node's is some node's.
func state(p record.Part, some model.State) model.State {
	switch p.Owner {
	case "":
		return model.Nobodys
	case record.OwnerStateful:
		return kept
	case record.OwnerMachine:
		return machines
	}
	return some
}

// in is what the cluster's key says; one that is missing says what one does that fits.
func (c *Checker) in() model.State {
	if c.recorded == model.Missing {
		return model.Certain
	}
	return c.recorded
}

// pieces are the parts of two versions of a block, cut so that none has more than one owner in either.
func pieces(was, is []record.Part) (all []netip.Prefix) {
	prefixes := slices.Concat(record.PrefixesOf(was), record.PrefixesOf(is))
	for i, p := range prefixes {
		if slices.Contains(prefixes[:i], p) {
			continue
		}
		var within []netip.Prefix
		for _, q := range prefixes {
			if q.Bits() > p.Bits() && p.Contains(q.Addr()) {
				within = append(within, q)
			}
		}
		all = append(all, allocator.Subtract(p, within)...)
	}
	return all
}

// reservation is what becomes of one.
func (c *Checker) reservation(all []sight, e *clientv3.Event, key kv.Key, t Transaction) []sight {
	was, is := c.reservations[string(e.Kv.Key)], reservation{}
	if e.Type == mvccpb.PUT {
		r, err := record.ReservationCodec.Read(c.keys, e.Kv)
		is = reservation{r, true, err != nil}
	}
	change := model.Change{Of: model.Reservation, From: was.state(model.Other), To: is.state(model.Self)}
	if is.there {
		change.Raised = int8(cmp.Compare(is.Epoch, was.Epoch))
	}
	if change.In = model.Certain; is.Holder != nil && c.in() == model.Void { // who lets go of something is given nothing
		change.In = model.Void
	}
	switch {
	case is.damaged:
		change.To = unread
	case was.damaged:
		return all
	case was.there && is.there && was.Identity != is.Identity:
		change.To = renamed
	case was.Holder == nil && is.Holder == nil:
	case is.Holder == nil:
		change.From, change.Alive = model.Self, c.node(was.Holder.Node).alive()
	case was.Holder != nil && was.Holder.Node != is.Holder.Node:
		change.OtherAlive, change.Waited = c.node(was.Holder.Node).alive(), c.waited(was.Holder.Node, allocator.Stateful, t.At)
		change.Alive = c.node(is.Holder.Node).alive()
	default:
		if change.Alive = c.node(is.Holder.Node).alive(); was.Holder != nil {
			change.From = model.Self
		}
		if was.Holder != nil && was.Holder.Attachment != is.Holder.Attachment && change.Raised == 0 {
			change.To = exchange
		}
	}
	return c.see(all, fmt.Sprintf("reservation %s, which %s has had by epoch %d and %s has by epoch %d", key.Address, was.holder(), was.Epoch,
		is.holder(), is.Epoch), change)
}

func (r reservation) state(some model.State) model.State {
	switch {
	case !r.there:
		return model.Missing
	case r.Holder == nil:
		return model.Nobodys
	}
	return some
}

func (r reservation) holder() string {
	if r.Holder == nil {
		return "nobody"
	}
	return r.Holder.Node
}
