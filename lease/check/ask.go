package check

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

const (
	// makeTime is how long agents may take to make their containers. An ADD waits for an address of a full pool for 10 s.
	makeTime = 30 * time.Second
	// overTime is how long a check stays there beyond the asker's patience, where the asker dies of it.
	overTime = 30 * time.Second
	// shareOfMaking is the part of the asker's patience that the making may take.
	shareOfMaking = 2
)

// Options say what is to be seen.
type Options struct {
	Who      string   // as the asker says
	Nodes    []string // that take part; none: all that are live
	From     []string // those of them that ask the others; none: all
	Pools    []string
	Flat     record.CheckNetwork // for a flat pool of which a node has no container
	Patience time.Duration       // for all of it
}

// UnderWayError says that another check is being done.
type UnderWayError struct{ Check record.Check }

func (e *UnderWayError) Error() string {
	c := e.Check
	return fmt.Sprintf("lease: a check is under way, which %s asked for at %s between %d nodes: wait for its end, which comes at %s at the "+
		"latest", c.Who, c.Asked.Format(time.TimeOnly), len(c.Nodes), c.Asked.Add(time.Duration(c.Keep)).Format(time.TimeOnly))
}

// An asker carries out one check.
type asker struct {
	kv      *kv.Client
	check   record.Check
	lease   clientv3.LeaseID
	known   map[string]record.Node // the records of those that are live
	answers map[string]record.CheckAnswer
}

// Ask has nodes check whether their containers reach each other, and reports what became of it. It fails with *UnderWayError, with
// *NotLiveError, or where etcd does.
func Ask(ctx context.Context, c *kv.Client, o Options) (*Report, error) {
	a := &asker{kv: c, check: record.Check{
		ID: c.Random.ID(), Who: o.Who, Asked: c.Clock.Wall(), Nodes: o.Nodes, From: o.From, Pools: o.Pools, Flat: o.Flat,
		Keep: allocator.Duration(o.Patience + overTime),
	}}
	if err := a.findNodes(ctx); err != nil {
		return nil, fmt.Errorf("lease: check: %w", err)
	}
	var err error
	if a.lease, err = c.Grant(ctx, o.Patience+overTime); err != nil {
		return nil, fmt.Errorf("lease: check: %w", err)
	}
	defer c.Revoke(a.lease) // and with it the check, its answers, and the nodes' containers
	if err := a.place(ctx); err != nil {
		return nil, err
	}
	end := time.Now().Add(o.Patience)
	made := func(record.CheckAnswer) bool { return true }
	if err := a.await(ctx, min(makeTime, o.Patience/shareOfMaking), a.check.Nodes, made); err != nil {
		return nil, fmt.Errorf("lease: check: %w", err)
	}
	if err := a.tellPeers(ctx, time.Until(end)); err != nil {
		return nil, fmt.Errorf("lease: check: %w", err)
	}
	asked := func(answer record.CheckAnswer) bool { return answer.Asked }
	if err := a.await(ctx, time.Until(end), a.asking(), asked); err != nil {
		return nil, fmt.Errorf("lease: check: %w", err)
	}
	return a.report(), nil
}

// findNodes finds out who is live, and makes of those who were named that they are.
func (a *asker) findNodes(ctx context.Context) error {
	t := kv.Transact("read who is live")
	sessions := t.Else(a.kv.Keys.Under(kv.KindSession), clientv3.WithPrefix(), clientv3.WithKeysOnly())
	nodes := t.Else(a.kv.Keys.Under(kv.KindNode), clientv3.WithPrefix())
	if err := a.kv.Query(ctx, kv.ScanTime, t); err != nil {
		return err
	}
	live := a.kv.Keys.NodesOf(sessions.KVs)
	records, bad := record.NodeCodec.ReadAll(a.kv.Keys, nodes.KVs)
	for _, each := range bad {
		a.kv.Unreadable(each)
	}
	a.known = map[string]record.Node{}
	for _, n := range records {
		if live[n.Name] && n.Removed == nil {
			a.known[n.Name] = n
		}
	}
	return a.choose()
}

// place puts the check into its key, where there is none.
func (a *asker) place(ctx context.Context) error {
	former, err := a.placeOver(ctx, 0)
	if former != nil && former.Lease == 0 { // it would never end: nobody asks without a lease
		former, err = a.placeOver(ctx, former.ModRevision)
	}
	if err != nil {
		return fmt.Errorf("lease: check: %w", err)
	}
	if former == nil || former.Lease == int64(a.lease) { // ours, by a try whose answer was lost
		return nil
	}
	other, err := record.CheckCodec.Read(a.kv.Keys, former)
	if err != nil {
		return fmt.Errorf("lease: check: another one is under way, and cannot be read: %w", err)
	}
	return &UnderWayError{other}
}

// placeOver puts the check there if its key is as it was at a revision, 0 if it was free, and takes away what answers may have been
// left. Where it is not, it returns what is there.
func (a *asker) placeOver(ctx context.Context, revision int64) (*mvccpb.KeyValue, error) {
	key := a.kv.Keys.Check()
	t := kv.Transact("place a check")
	t.If(kv.Unchanged(key, revision))
	t.Then(kv.Put(key, a.check, clientv3.WithLease(a.lease)), clientv3.OpDelete(key+"/", clientv3.WithPrefix()))
	former := t.Else(key)
	err := a.kv.Execute(ctx, t)
	if err != nil || t.Done {
		return nil, err
	}
	if !former.Found() {
		return nil, errors.New("another one has just ended: try again")
	}
	return former.KVs[0], nil
}

// tellPeers writes who has made containers, upon which the nodes ask each other. That a try whose answer was lost is repeated does no
// harm: it writes the same.
func (a *asker) tellPeers(ctx context.Context, left time.Duration) error {
	for _, name := range a.check.Nodes {
		if answer, ok := a.answers[name]; ok {
			a.check.Peers = append(a.check.Peers, record.CheckPeer{Node: name, Hops: a.known[name].Hops, Probes: answer.Probes})
		}
	}
	// Some time is left for the answers to come.
	a.check.Ask = allocator.Duration(max(left*3/4, time.Second))
	t := kv.Transact("tell the peers of a check")
	t.Then(kv.Put(a.kv.Keys.Check(), a.check, clientv3.WithLease(a.lease)))
	return a.kv.Require(ctx, t)
}

// asking are those whose results are awaited: they have made containers.
func (a *asker) asking() []string {
	return slices.DeleteFunc(slices.Clone(a.check.From), func(name string) bool { _, ok := a.answers[name]; return !ok })
}

// await waits until the answers of all who are expected are as they are wanted, or the time is over.
func (a *asker) await(ctx context.Context, patience time.Duration, expected []string, wanted func(record.CheckAnswer) bool) error {
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	prefix := a.kv.Keys.Check() + "/"
	for {
		response, err := a.kv.Scan(context.WithoutCancel(ctx), prefix)
		if err != nil {
			return err
		}
		a.answers = map[string]record.CheckAnswer{}
		answers, bad := record.CheckAnswerCodec.ReadAll(a.kv.Keys, response.Kvs)
		for _, each := range bad {
			a.kv.Unreadable(each)
		}
		for _, each := range answers {
			if each.ID == a.check.ID {
				a.answers[each.Node] = each
			}
		}
		missing := slices.ContainsFunc(expected, func(name string) bool {
			answer, ok := a.answers[name]
			return !ok || !wanted(answer)
		})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !missing || bounded.Err() != nil {
			//lint:ignore nilerr the time is over, and these have answered by then
			return nil
		}
		a.kv.Changed(bounded, response.Header.Revision, prefix)
		_ = task.Pause(bounded, kv.GatherTime) // answers come from many nodes
	}
}
