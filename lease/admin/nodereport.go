package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// NodeReports are what a tool asks of all nodes.
type NodeReports struct{ kv *kv.Client }

// NewNodeReports asks by a client.
func NewNodeReports(kv *kv.Client) *NodeReports { return &NodeReports{kv} }

const (
	// requestSlots is how many questions there can be at a time. Agents watch one key for each: of a prefix that held the
	// answers, too, every agent would get all of them.
	requestSlots = 4
	// requestTime is how long a question stays there beyond the asker's patience, where the asker dies of it.
	requestTime = 30 * time.Second
)

// Request asks every agent and waits until each node that had a session has answered, or for as long as patience. It
// returns the answers by name, and the names of the nodes that had a session and did not answer. The nodes in
// unawaited are asked, but not waited for.
func (s *NodeReports) Request(ctx context.Context, q record.ReportRequest, patience time.Duration,
	unawaited ...string) (answers []record.NodeReport, silent []string, err error) {
	id, err := s.kv.Grant(ctx, patience+requestTime)
	if err != nil {
		return nil, nil, fmt.Errorf("lease: ask: %w", err)
	}
	defer s.kv.Revoke(id) // and with it the question and its answers
	slot, at, live, err := s.place(ctx, q, id)
	if err != nil {
		return nil, nil, fmt.Errorf("lease: ask: %w", err)
	}
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	names, err := s.awaitReports(bounded, slot, at,
		slices.DeleteFunc(slices.Clone(live), func(n string) bool { return slices.Contains(unawaited, n) }))
	if ctx.Err() != nil || err != nil {
		return nil, nil, fmt.Errorf("lease: ask: %w", errors.Join(ctx.Err(), err))
	}
	for _, name := range names {
		a, err := kv.One(ctx, s.kv, record.AnswerCodec, s.kv.Keys.Answer(slot, name))
		if bad := kv.Damage(err); bad != nil { // as good as none
			s.kv.Unreadable(bad)
			names = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == name })
			continue
		}
		if err != nil {
			return nil, nil, fmt.Errorf("lease: ask: %w", err)
		}
		if a != nil {
			answers = append(answers, *a)
		}
	}
	for _, name := range live {
		if !slices.Contains(names, name) {
			silent = append(silent, name)
		}
	}
	return answers, silent, nil
}

// place puts the question into a free slot, and returns which nodes had a session at the revision of that.
func (s *NodeReports) place(
	ctx context.Context, q record.ReportRequest, id clientv3.LeaseID,
) (slot string, at int64, live []string, err error) {
	q.Asked, q.Slot, q.Revision = s.kv.Clock.Wall(), "", 0
	for _, n := range s.kv.Random.Perm(requestSlots) {
		slot = strconv.Itoa(n + 1)
		p, err := s.placeIn(ctx, slot, q, id, 0)
		if err != nil {
			return "", 0, nil, err
		}
		if !p.Done && p.there() && p.former.KVs[0].Lease == 0 {
			// It would never end: nobody asks without a lease.
			if p, err = s.placeIn(ctx, slot, q, id, p.former.Revision()); err != nil {
				return "", 0, nil, err
			}
		}
		if !p.Done && (!p.there() || p.former.KVs[0].Lease != int64(id)) {
			continue // another's question; with this lease it would be ours, by a try whose answer was lost
		}
		known := s.kv.Keys.NodesOf(p.nodes.KVs)
		for name := range s.kv.Keys.NodesOf(p.sessions.KVs) {
			if known[name] { // a session of no node answers nothing
				live = append(live, name)
			}
		}
		slices.Sort(live)
		return slot, p.Revision(), live, nil
	}
	return "", 0, nil, fmt.Errorf("%d questions are being asked already: try again in %s", requestSlots, requestTime)
}

// placeIn puts the question into a slot that is as it was at a revision, 0 if it was free, and takes away what answers may
// have been left there.
func (s *NodeReports) placeIn(
	ctx context.Context, slot string, q record.ReportRequest, id clientv3.LeaseID, revision int64,
) (placement, error) {
	key := s.kv.Keys.Question(slot)
	p := placement{Txn: kv.Transact("ask")}
	p.If(kv.Unchanged(key, revision))
	p.Then(kv.Put(key, q, clientv3.WithLease(id)), clientv3.OpDelete(key+"/", clientv3.WithPrefix()))
	p.former = p.Else(key)
	p.sessions = p.Read(s.kv.Keys.Under(kv.KindSession), clientv3.WithPrefix(), clientv3.WithKeysOnly())
	p.nodes = p.Read(s.kv.Keys.Under(kv.KindNode), clientv3.WithPrefix(), clientv3.WithKeysOnly())
	return p, s.kv.Execute(ctx, p.Txn)
}

// A posing is the transaction that puts a question into a slot, and what it reads.
type placement struct {
	*kv.Txn
	former          *kv.Read // the question that was there before
	sessions, nodes *kv.Read
}

func (p placement) there() bool { return p.former.Found() }

// awaitReports waits until all who are expected have answered, or ctx ends, and returns who has.
func (s *NodeReports) awaitReports(ctx context.Context, slot string, at int64, expected []string) (names []string, err error) {
	prefix := s.kv.Keys.Question(slot) + "/"
	for {
		response, err := s.kv.Scan(context.WithoutCancel(ctx), prefix, clientv3.WithKeysOnly())
		if err != nil {
			return nil, err
		}
		names = nil
		for _, kv := range response.Kvs {
			names = append(names, strings.TrimPrefix(string(kv.Key), prefix))
		}
		missing := slices.ContainsFunc(expected, func(n string) bool { return !slices.Contains(names, n) })
		if !missing || ctx.Err() != nil {
			//lint:ignore nilerr the time is over, and these have answered by then
			return names, nil
		}
		s.kv.Changed(ctx, max(at, response.Header.Revision), prefix)
		_ = task.Pause(ctx, kv.GatherTime) // answers come from many nodes
	}
}
