package update

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/agent/plan"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// Given is what an ADD returns of a pool that no roll-out can change: name resolution, which the runtime has written into the
// container, and in the IPAM role all of it.
func Given(e *journal.Entry, pool *allocator.Pool) *journal.Given {
	g := &journal.Given{DNS: pool.DNS}
	if e.Role == wire.IPAM {
		g.Prefixes = plan.Prefixes(e.Addresses, nil, pool)
		g.MTU, g.Gateways, g.Routes = pool.MTU, pool.GatewaysOf(e.Addresses), pool.RoutesOf(e.Addresses)
	}
	return g
}

// outdated are the containers that only a new container could bring up to date, with the reasons. Where the journal does not
// record what a container was given, etcd's history is read.
func (u *Updater) outdated(ctx context.Context, entries []*journal.Entry, config *config.Config) map[allocator.Attachment]string {
	reasons := map[allocator.Attachment]string{}
	var unrecorded []*journal.Entry
	for _, e := range entries {
		pool, ok := config.Pools[e.Pool]
		switch {
		case !ok || e.Answered == 0:
		case !recorded(e):
			unrecorded = append(unrecorded, e)
		default:
			if reason := lacks(e, &pool); reason != "" {
				reasons[e.Attachment] = reason
			}
		}
	}
	if len(unrecorded) == 0 {
		return reasons
	}
	recalled, err := u.recallGiven(ctx, unrecorded)
	if err != nil {
		u.Log.Warn("what containers were given when they were made is not known yet; trying again: see the error for what keeps etcd's "+
			"history from being read", zap.Error(err))
	}
	for _, e := range unrecorded {
		now := recalled[e.Attachment]
		if now == nil {
			reasons[e.Attachment] = fmt.Sprintf("what it was given when it was made is not known yet: %v", err)
			continue
		}
		if pool := config.Pools[e.Pool]; lacks(now, &pool) != "" {
			reasons[e.Attachment] = lacks(now, &pool)
		}
	}
	return reasons
}

// recorded reports whether the journal says what an entry was given. A former release did not record the prefixes.
func recorded(e *journal.Entry) bool {
	return e.Given != nil && (e.Role != wire.IPAM || e.Given.Unknown || len(e.Given.Prefixes) > 0)
}

// lacks says what of its pool's present configuration a container can get only by being recreated; empty: nothing.
func lacks(e *journal.Entry, pool *allocator.Pool) string {
	const remake = ", and a running container cannot get it: it must be made anew"
	if e.Given.Unknown {
		return "its journal is lost or of an older release, so that it is not known whether it was made before a change that only new " +
			"containers get: it must be made anew"
	}
	if plan.OtherMode(e.Wiring, pool) {
		return "it was made while its pool had another mode" + remake
	}
	for _, f := range pool.Giving() {
		if !slices.ContainsFunc(e.Addresses, func(a netip.Addr) bool { return allocator.FamilyOf(a) == f }) {
			return fmt.Sprintf("it has no %s address, and its pool gives one to each new container%s", f, remake)
		}
	}
	want := Given(e, pool)
	var names []string
	for _, field := range []struct {
		name      string
		has, want any
	}{{"dns", e.Given.DNS, want.DNS}, {"mtu", e.Given.MTU, want.MTU}, {"prefix lengths", e.Given.Prefixes,
		want.Prefixes}, {"gateways", e.Given.Gateways, want.Gateways}, {"routes",
		e.Given.Routes, want.Routes}} {
		if !reflect.DeepEqual(field.has, field.want) {
			names = append(names, field.name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	if len(names) == 1 && names[0] == "dns" {
		return "it lacks the present dns, which its runtime was told when it was made" + remake
	}
	return fmt.Sprintf("it lacks the present %s (another plugin made its interface)%s", strings.Join(names, ", "), remake)
}

// recallGiven finds in etcd's history what containers were given whose journal entry lacks it: the entry is of an older release,
// or was lost. It writes that into the journal and returns the new entries.
func (u *Updater) recallGiven(ctx context.Context, entries []*journal.Entry) (map[allocator.Attachment]*journal.Entry, error) {
	history, err := u.Store.Config.History(ctx)
	damaged, bad := errors.AsType[*kv.DamagedError](err)
	if err != nil && !bad {
		return nil, err
	}
	if bad {
		history = nil // the history is damaged
		u.Log.Warn("etcd's history of the configuration has a damaged record: containers of which the journal does not say what they "+
			"were given count as outdated until they are made anew", zap.Error(damaged))
	}
	recorded := map[allocator.Attachment]*journal.Entry{}
	for _, e := range entries {
		now, err := u.recordGiven(ctx, e, recall(history, e))
		if err != nil {
			return recorded, err
		}
		if now != nil {
			recorded[e.Attachment] = now
		}
	}
	return recorded, nil
}

// recordGiven writes into the journal what a container was given, unless an ADD has done so meanwhile. It returns nil if the
// container is gone.
func (u *Updater) recordGiven(ctx context.Context, e *journal.Entry, g *journal.Given) (*journal.Entry, error) {
	unlock, err := u.Locks.Lock(ctx, e.Attachment)
	if err != nil {
		return nil, err
	}
	defer unlock()
	var now *journal.Entry
	u.Gate.Shared(func() {
		if now = u.Journal.Get(e.Attachment); now == nil || recorded(now) {
			return
		}
		next := *now
		next.Given, now = g, &next
		err = u.Journal.Change(&next)
	})
	return now, err
}

// recall is what a container was given, if its pool has had the same ever since the container was made; else it is unknown.
func recall(history []record.HistoryEntry, e *journal.Entry) *journal.Given {
	since := e.Revision
	if e.Role == wire.Interface {
		since = 0 // the entry's revision is that of the last roll-out, which may be later than the ADD
	}
	var given *journal.Given
	for i, change := range history {
		if change.Number != int64(i+1) {
			return &journal.Given{Unknown: true} // some of the history is gone
		}
		for _, pool := range change.After.Pools {
			if pool.Name != e.Pool {
				continue
			}
			switch next := Given(e, &pool); {
			case given == nil || change.Revision <= since:
				given = next
			case !reflect.DeepEqual(given, next):
				return &journal.Given{Unknown: true}
			}
		}
	}
	if given == nil {
		return &journal.Given{Unknown: true}
	}
	return given
}
