package lease

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// A reportStore is what tools ask all nodes, and what they answer.
type reportStore struct{ kv *Client }

func newReportStore(kv *Client) *reportStore { return &reportStore{kv} }

const (
	// askSlots is how many questions there can be at a time. Agents watch one key for each: of a prefix that held the
	// answers, too, every agent would get all of them.
	askSlots = 4
	// askTime is how long a question stays there beyond the asker's patience, where the asker dies of it.
	askTime = 30 * time.Second
)

// ErrWithdrawn says that a question is not there any more: nobody waits for its answer.
var ErrWithdrawn = errors.New("lease: the question was withdrawn")

// Ask asks every agent and waits until each node that had a session has answered, or for as long as patience. It
// returns the answers by name, and the names of the nodes that had a session and did not answer. The nodes in deaf are
// asked, but not waited for.
func (s *reportStore) Ask(ctx context.Context, q Question, patience time.Duration, deaf ...string) (answers []Answer, silent []string,
	err error) {
	id, err := s.kv.grant(ctx, patience+askTime)
	if err != nil {
		return nil, nil, fmt.Errorf("lease: ask: %w", err)
	}
	defer s.kv.revoke(id) // and with it the question and its answers
	slot, at, live, err := s.pose(ctx, q, id)
	if err != nil {
		return nil, nil, fmt.Errorf("lease: ask: %w", err)
	}
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	names, err := s.awaitAnswers(bounded, slot, at,
		slices.DeleteFunc(slices.Clone(live), func(n string) bool { return slices.Contains(deaf, n) }))
	if ctx.Err() != nil || err != nil {
		return nil, nil, fmt.Errorf("lease: ask: %w", errors.Join(ctx.Err(), err))
	}
	for _, name := range names {
		a, err := one(ctx, s.kv, answerCodec, s.kv.keys.answer(slot, name))
		if bad := damage(err); bad != nil { // as good as none
			s.kv.unreadable(bad)
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

// pose puts the question into a free slot, and returns which nodes had a session at the revision of that.
func (s *reportStore) pose(ctx context.Context, q Question, id clientv3.LeaseID) (slot string, at int64, live []string, err error) {
	q.Asked, q.Slot, q.Revision = time.Now().UTC(), "", 0
	for _, n := range rand.Perm(askSlots) {
		slot = strconv.Itoa(n + 1)
		p, err := s.poseIn(ctx, slot, q, id, 0)
		if err != nil {
			return "", 0, nil, err
		}
		if !p.Done && p.there() && p.former.kvs[0].Lease == 0 {
			// It would never end: nobody asks without a lease.
			if p, err = s.poseIn(ctx, slot, q, id, p.former.revision()); err != nil {
				return "", 0, nil, err
			}
		}
		if !p.Done && (!p.there() || p.former.kvs[0].Lease != int64(id)) {
			continue // another's question; with this lease it would be ours, by a try whose answer was lost
		}
		known := s.kv.keys.nodesOf(p.nodes.kvs)
		for name := range s.kv.keys.nodesOf(p.sessions.kvs) {
			if known[name] { // a session of no node answers nothing
				live = append(live, name)
			}
		}
		slices.Sort(live)
		return slot, p.revision(), live, nil
	}
	return "", 0, nil, fmt.Errorf("%d questions are being asked already: try again in %s", askSlots, askTime)
}

// poseIn puts the question into a slot that is as it was at a revision, 0 if it was free, and takes away what answers may
// have been left there.
func (s *reportStore) poseIn(ctx context.Context, slot string, q Question, id clientv3.LeaseID, revision int64) (posing, error) {
	key := s.kv.keys.question(slot)
	p := posing{txn: transact("ask")}
	p.If(unchanged(key, revision))
	p.Then(put(key, q, clientv3.WithLease(id)), clientv3.OpDelete(key+"/", clientv3.WithPrefix()))
	p.former = p.Else(key)
	p.sessions = p.Read(s.kv.keys.Under(KindSession), clientv3.WithPrefix(), clientv3.WithKeysOnly())
	p.nodes = p.Read(s.kv.keys.Under(KindNode), clientv3.WithPrefix(), clientv3.WithKeysOnly())
	return p, s.kv.settle(ctx, p.txn)
}

// A posing is the transaction that puts a question into a slot, and what it reads.
type posing struct {
	*txn
	former          *read // the question that was there before
	sessions, nodes *read
}

func (p posing) there() bool { return p.former.there() }

// awaitAnswers waits until all who are expected have answered, or ctx ends, and returns who has.
func (s *reportStore) awaitAnswers(ctx context.Context, slot string, at int64, expected []string) (names []string, err error) {
	prefix := s.kv.keys.question(slot) + "/"
	for {
		response, err := s.kv.scan(context.WithoutCancel(ctx), prefix, clientv3.WithKeysOnly())
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
		s.kv.changed(ctx, max(at, response.Header.Revision), prefix)
		_ = pause(ctx, settling) // answers come from many nodes
	}
}

// FollowQuestions calls f with each question that is asked, once, until ctx ends; its error is ctx's.
func (s *reportStore) FollowQuestions(ctx context.Context, f func(Question)) error {
	type asked struct {
		revision int64
		life     int
	}
	seen := map[string]asked{}
	hear := func(kv *mvccpb.KeyValue, life int) {
		q, err := questionCodec.read(s.kv.keys, kv)
		if now := (asked{q.Revision, life}); err == nil && seen[q.Slot] != now {
			seen[q.Slot], q.Lease = now, kv.Lease
			f(q)
		}
	}
	return s.kv.lifeByLife(ctx, func(ctx context.Context, life int) {
		within := func(kv *mvccpb.KeyValue) { s.kv.life.within(life, func() { hear(kv, life) }) }
		if revision, err := s.readQuestions(ctx, within); err == nil {
			s.watchQuestions(ctx, revision, within)
		}
	})
}

func (s *reportStore) readQuestions(ctx context.Context, hear func(*mvccpb.KeyValue)) (int64, error) {
	t := transact("read questions")
	questions := make([]*read, askSlots)
	for n := range questions {
		questions[n] = t.Else(s.kv.keys.question(strconv.Itoa(n + 1)))
	}
	if err := s.kv.consult(ctx, callTime, t); err != nil {
		return 0, err
	}
	for _, q := range questions {
		for _, kv := range q.kvs {
			hear(kv)
		}
	}
	return t.revision(), nil
}

// watchQuestions returns when one of the watches or ctx ends.
func (s *reportStore) watchQuestions(ctx context.Context, revision int64, hear func(*mvccpb.KeyValue)) {
	client, err := s.kv.etcd()
	if err != nil {
		return
	}
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	heard := make(chan clientv3.WatchResponse)
	for n := range askSlots {
		watch := client.Watch(ctx, s.kv.keys.question(strconv.Itoa(n+1)), clientv3.WithRev(revision+1))
		go func() {
			defer cancel()
			for response := range watch {
				select {
				case heard <- response:
				case <-ctx.Done():
				}
			}
		}()
	}
	for {
		select {
		case <-ctx.Done():
			return
		case response := <-heard:
			if response.Err() != nil {
				return
			}
			for _, e := range response.Events {
				if e.Type == mvccpb.PUT {
					hear(e.Kv)
				}
			}
		}
	}
}

// AnswerQuestion writes what the node holds, for as long as the question is there. What would be too much for etcd is counted.
// It fails with ErrWithdrawn where nobody waits any more, with ErrSessionLost or ErrReplaced.
func AnswerQuestion(ctx context.Context, x *Session, q Question, a Answer) error {
	if err := answer(ctx, x, q, a); err != nil {
		return fmt.Errorf("lease: answer for node %q: %w", x.Name(), err)
	}
	return nil
}

func answer(ctx context.Context, x *Session, q Question, a Answer) error {
	keys := x.KV().keys
	a.Node, a.Slot, a.Generation, a.Started = "", "", x.Generation(), x.Node().Started
	t := x.fenced("answer")
	t.IfUnchanged(keys.question(q.Slot), q.Revision, ErrWithdrawn)
	t.Then(clientv3.OpPut(keys.answer(q.Slot, x.Name()), a.text(), clientv3.WithLease(clientv3.LeaseID(q.Lease))))
	err := x.KV().settled(ctx, t)
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return ErrWithdrawn
	}
	return err
}
