package attach

import (
	"cmp"
	"context"
	"errors"
	"os"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/agent/node"
	"github.com/berth-ipam/berth/agent/plan"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/session"
)

// Insert is CNI ADD for a set: either every container gets its addresses and, in the interface role, its interface, or none does.
// The order is choose, journal, wire, commit, answer.
func (a *Attacher) Insert(ctx context.Context, r *wire.Request, files []*os.File) ([]wire.Result, error) {
	if err := a.AwaitStart(ctx, allocator.Instant(r.Started)); err != nil {
		return nil, err
	}
	set, err := targets(a.Node, r, files)
	if err != nil {
		return nil, err
	}
	unlock, err := a.lockAll(ctx, set)
	if err != nil {
		return nil, err
	}
	defer unlock()
	results, err := a.insertSet(ctx, set, allocator.Instant(r.Started))
	if err == nil || !r.Each {
		return results, err
	}
	results = make([]wire.Result, len(set))
	for i, m := range set {
		if one, err := a.insertSet(ctx, []*target{m}, allocator.Instant(r.Started)); err != nil {
			results[i].Error = wire.AsError(err)
		} else {
			results[i] = one[0]
		}
	}
	return results, nil
}

// insertSet inserts a set as a whole or not at all, and starts again when the session changes meanwhile.
func (a *Attacher) insertSet(ctx context.Context, set []*target, began allocator.Instant) ([]wire.Result, error) {
	for {
		results, err := a.insertOnce(ctx, set, began)
		if !errors.Is(err, node.ErrSuperseded) {
			return results, err
		}
		if ctx.Err() != nil {
			return nil, wire.Errorf(wire.CodeTryAgain, "%w, and the request's time is over", err)
		}
		task.Pause(ctx, 10*time.Millisecond) // the node may be joining again
	}
}

// lockAll acquires the locks of a set in one order, so that two sets never wait for each other.
func (a *Attacher) lockAll(ctx context.Context, set []*target) (unlock func(), err error) {
	order := slices.Clone(set)
	slices.SortFunc(order, func(x, y *target) int { return cmp.Compare(x.attachment.String(), y.attachment.String()) })
	var held []func()
	unlock = func() {
		for _, f := range held {
			f()
		}
	}
	for _, m := range order {
		one, err := a.Locks.Lock(ctx, m.attachment)
		if err != nil {
			unlock()
			return nil, wire.Errorf(wire.CodeTryAgain, "another request for %s is still under way", m.attachment)
		}
		held = append(held, one)
	}
	return unlock, nil
}

func (a *Attacher) insertOnce(ctx context.Context, set []*target, began allocator.Instant) (_ []wire.Result, err error) {
	adds := make([]*insertion, 0, len(set))
	defer func() {
		if err != nil {
			for _, add := range slices.Backward(adds) {
				a.undo(add)
			}
		}
	}()
	for _, m := range set {
		add, err := a.begin(ctx, m, began)
		if err != nil {
			return nil, err
		}
		adds = append(adds, add)
	}
	session, err := a.chooseAll(ctx, adds, began)
	if err != nil {
		return nil, err
	}
	if err := a.wireAll(ctx, adds); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, wire.Errorf(wire.CodeTryAgain, "the caller has gone before its answer")
	}
	if err := a.commit(session, adds); err != nil {
		return nil, err
	}
	results := make([]wire.Result, len(adds))
	for i, add := range adds {
		results[i] = a.answer(add)
		a.Updater.Reconsider(add.entry, add.pool)
		if add.entry.Wiring.Port != "" {
			p := plan.Port(add.entry, add.pool)
			p.Netns = add.netns
			a.Kernel().Announce(p) // its frames pass now
		}
	}
	return results, nil
}

// ErrStrictIPAM refuses a container that strict fencing could not isolate.
var ErrStrictIPAM = wire.Errorf(wire.CodeConfig, "this cluster fences strictly (settings: fencing), and a container whose "+
	"interface another plugin makes has no port to cut: make berth the interface plugin, or set fencing to evidence")

// begin finds what a container already has, and refuses an ADD that a later DEL has overtaken.
func (a *Attacher) begin(ctx context.Context, m *target, began allocator.Instant) (*insertion, error) {
	if began != 0 && a.Journal.Overtaken(m.attachment, began) {
		return nil, wire.Errorf(wire.CodeTryAgain, "a DEL of %s that began after this ADD has been done already, or may have been", m.attachment)
	}
	e := a.Journal.Get(m.attachment)
	if e != nil && e.Isolated != nil && e.Isolated.Epoch == journal.Never {
		return nil, wire.Errorf(wire.CodeTryAgain, "%s is isolated (%s): delete it first", m.attachment, e.Isolated.Reason)
	}
	if e != nil && e.Answered == 0 { // a failed ADD whose undo has failed
		if err := a.detacher.unwire(e, journal.Release{Attachment: m.attachment, At: a.Clock.Boot()}); err != nil {
			return nil, wire.Errorf(wire.CodeTryAgain, "an ADD of %s that failed cannot be taken back yet: %w", m.attachment, err)
		}
		e = nil
	}
	add := &insertion{target: m}
	name := m.Pool
	if e != nil {
		add.former, name = e, e.Pool
	} else if m.Role == wire.IPAM && a.Strict() {
		return nil, ErrStrictIPAM
	}
	var err error
	if add.pool, add.config, err = a.PoolNow(ctx, name); err != nil {
		return nil, err
	}
	if err := add.fits(); err != nil {
		return nil, err
	}
	if m.Role == wire.IPAM && add.pool.DefaultRoute() {
		for _, g := range add.pool.Gateways {
			if !add.pool.Contains(g) && (g.Is4() || !g.IsLinkLocalUnicast()) {
				return nil, wire.Errorf(wire.CodeConfig, "pool %q has the gateway %s, which lies outside of it, and the plugin that makes "+
					"the interface cannot put a route there: make berth the interface plugin, or set the pool's defaultRoute to false", name, g)
			}
		}
	}
	for _, addr := range m.asked {
		if add.former == nil && !slices.Contains(add.pool.Giving(), allocator.FamilyOf(addr)) { // what is made already keeps what it has
			return nil, wire.Errorf(wire.CodeConfig, "address %s was asked for, and pool %q gives none of its family: it has %v", addr, name,
				add.pool.CIDRs)
		}
	}
	return add, nil
}

// chooseAll chooses the addresses of new containers and writes them into the journal. The reservations of a set share
// transactions.
func (a *Attacher) chooseAll(ctx context.Context, adds []*insertion, began allocator.Instant) (*session.Session, error) {
	var stateful []*insertion
	classes := map[allocator.Class]bool{}
	for _, add := range adds {
		classes[add.owns()] = true
	}
	var session *session.Session
	for class := range classes {
		var err error
		if session, err = a.Holding(class); err != nil {
			return nil, err
		}
	}
	for _, add := range adds {
		switch {
		case add.reserves():
			stateful = append(stateful, add)
		case add.former != nil:
		default:
			if err := a.chooseFor(ctx, add); err != nil {
				return nil, err
			}
		}
	}
	if err := a.reserve(ctx, session, stateful); err != nil {
		return nil, err
	}
	for _, add := range adds {
		if err := a.hold(add, session, began); err != nil {
			return nil, err
		}
	}
	return session, nil
}

// hold writes what was chosen into the journal, before the kernel is changed.
func (a *Attacher) hold(add *insertion, session *session.Session, began allocator.Instant) error {
	if add.former != nil {
		return a.holdAgain(add, session, began)
	}
	e := add.reserved
	if e == nil {
		e = &journal.Entry{Class: allocator.Stateless}
		for _, g := range add.grants {
			e.Addresses = append(e.Addresses, g.Address)
		}
	}
	e.Attachment, e.Role, e.App, e.Member, e.Pool = add.attachment, add.Role, add.app, add.Member, add.pool.Name
	e.Generation, e.Revision, e.Since, e.Began = session.Generation(), add.config.Revision, a.Clock.Wall(), began
	e.Netns, e.Workload = add.Netns, add.workload
	if add.Role == wire.Interface {
		fitted, err := a.Updater.Host.Fitted(add.pool)
		if err != nil {
			return wire.Errorf(wire.CodeTryAgain, "%w", err)
		}
		e.Wiring = wiring(add, e)
		e.Wiring.MTU = fitted.MTU
	}
	add.entry = e
	if err := a.Journal.Hold(e); err != nil {
		return wire.Errorf(wire.CodeTryAgain, "%w", err)
	}
	add.held = true
	return nil
}

// holdAgain prepares the new entry of a repeated ADD. It reaches the journal with the answer.
func (a *Attacher) holdAgain(add *insertion, session *session.Session, began allocator.Instant) error {
	next := *add.former
	next.Generation, next.Began = session.Generation(), max(began, add.former.Began)
	if next.Began == add.former.Began {
		next.Began++ // the same request, or one without a time
	}
	if r := add.reserved; r != nil {
		if !slices.Equal(r.Addresses, next.Addresses) {
			return wire.Errorf(wire.CodeTryAgain, "%s is isolated (%s), and its member has %s now: delete it first", add.attachment,
				add.former.IsolatedWhy(), r.AddressList())
		}
		next.Epoch = r.Epoch
	}
	add.entry = &next
	return nil
}

// goOn lets a container pass again whose port a repeated ADD has made anew before it failed. One that has come with another network
// namespace is not the container that was answered.
func (a *Attacher) goOn(add *insertion) {
	if !add.wired || add.attached.inode != add.former.Inode {
		return
	}
	var err error
	a.Gate.Shared(func() {
		// A class never has a port that is not there: the next one of that name would pass before its ADD is answered.
		if !a.Addresses.LostAddress(add.former) && a.Kernel().HasPort(add.former.Wiring.Port) {
			err = a.Isolator.PassAgain(add.former)
		}
	})
	if err != nil {
		a.Log.Error("a repeated ADD has failed, and its container is cut off: delete it, or repeat the ADD",
			zap.Stringer("attachment", add.attachment), zap.Error(err))
	}
}

// undo undoes an add, last step first. What fails stays in the journal and is undone later.
func (a *Attacher) undo(add *insertion) {
	if add.former != nil {
		if !add.done {
			a.unreserve(add)
			a.goOn(add)
		}
		return
	}
	if !add.held {
		a.Chooser.GiveBack(add.pool.Name, add.grants)
		a.unreserve(add)
		return
	}
	e := *add.entry
	if !add.wired {
		e.Wiring.Port = "" // the port may be another's
	}
	if err := a.detacher.unwire(&e, journal.Release{Attachment: add.attachment, At: a.Clock.Boot()}); err != nil {
		// Its address stays held meanwhile.
		a.Log.Error("cannot undo an ADD yet; it is tried again within a minute", zap.Stringer("attachment", add.attachment), zap.Error(err))
	}
}
