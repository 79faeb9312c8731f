package trace_test

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/lease/admin"
	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/model/trace"
	"github.com/berth-ipam/berth/lease/reservation"
	"github.com/berth-ipam/berth/lease/session"
)

// A follower takes in all that etcd commits under the lab's prefix.
type follower struct {
	*lab.Lab
	s       *lab.Store
	config  *config.Config
	checker *trace.Checker
	from    int64 // the next revision
}

// follow begins with a cluster that somebody has met and configured.
func follow(l *lab.Lab) *follower {
	l.Helper()
	s := l.Store()
	l.Handshake(s, "n1", session.Past{})
	f := &follower{l, s, l.Apply(s, lab.Smallest()), trace.New(s.KV.Keys, true), 0}
	f.begin()
	return f
}

// begin takes etcd as it is.
func (f *follower) begin() {
	f.Helper()
	all, err := f.Raw().Get(f.Context(), f.s.KV.Keys.Prefix, clientv3.WithPrefix())
	f.Check(err)
	f.checker.Begin(all.Header.ClusterId, all.Kvs, time.Now())
	f.from = all.Header.Revision + 1
}

// transactions are those since the last call, by the watch.
func (f *follower) transactions() (all []trace.Transaction) {
	f.Helper()
	end := f.Put(f.s.KV.Keys.Prefix+"end", "") // no key of Berth's
	ctx, cancel := context.WithTimeout(f.Context(), time.Minute)
	defer cancel()
	for r := range f.Raw().Watch(ctx, f.s.KV.Keys.Prefix, clientv3.WithPrefix(), clientv3.WithRev(f.from)) {
		f.Check(r.Err())
		for _, t := range trace.Transactions(r, time.Now()) {
			if t.Revision == end {
				f.from = end + 1
				return all
			}
			all = append(all, t)
		}
	}
	f.Fatal("the watch has ended")
	return nil
}

// accepts wants all since the last call to be steps.
func (f *follower) accepts() {
	f.Helper()
	all := f.transactions()
	for _, t := range all {
		if err := f.checker.See(t); err != nil {
			f.Error(err)
		}
	}
	if len(all) == 0 {
		f.Error("nothing has happened")
	}
	f.Logf("%d transactions", len(all))
}

func (f *follower) reserve(x *lab.Joined, member int, container string) error {
	_, err := x.Reserve(f.Context(), []reservation.Request{lab.Asking(f.config, "default", lab.Identity("db", member), container)})
	return err
}

func TestWhatNodesAndOperatorsCommitAreSteps(t *testing.T) {
	f := follow(lab.New(t))
	away, absence := f.Away(f.config, "gone", "10.42.16.0/26")
	one, two := f.Join(f.Store(), "n1"), f.Join(f.Store(), "n2")
	f.accepts()

	b := f.Claims(one, f.config, "10.42.17.0/26")
	given, err := block.Transfer(t.Context(), one.Session, b, lab.Prefix("10.42.17.32/27"), f.Demand(two))
	f.Check(err)
	given, err = block.Resolve(t.Context(), one.Session, given)
	f.Check(err)
	_, err = block.Release(t.Context(), one.Session, given, lab.Prefix("10.42.17.0/28"))
	f.Check(err)
	f.Claims(two, f.config, "10.42.17.0/26")
	_, err = block.TakeOver(t.Context(), two.Session, away, f.config.PoolRevisions["default"], absence)
	f.Check(err)
	_, err = f.OwnAddress(one, f.config, "10.42.18.1", false)
	f.Check(err)
	f.accepts()

	f.Check(f.Reserves(f.s, f.config, lab.Identity("db", 0), "10.42.0.7"))
	f.Check(f.reserve(one, 0, "a"))
	f.Check(f.reserve(one, 0, "a")) // again
	f.Check(f.reserve(one, 1, "b"))
	r, err := f.s.Reservations.Of(t.Context(), "default", lab.Addr("10.42.0.7"))
	f.Check(err)
	d := reservation.Detachment{
		Pool: "default", Addresses: []netip.Addr{r.Address}, Identity: r.Identity, Attachment: lab.Attachment("a"), Epoch: r.Epoch,
	}
	f.Check(f.s.Reservations.Detach(t.Context(), []reservation.Detachment{d}))
	f.Check(f.reserve(two, 0, "c"))
	f.Leave("n2")
	f.Check(f.reserve(one, 0, "a")) // it moves from who is gone
	_, err = f.s.Reservations.End(t.Context(), lab.Identity("db", 1), true)
	f.Check(err)
	f.accepts()

	_, err = f.s.Admin.RemoveNode(t.Context(), "n2", admin.RemoveOptions{Force: true})
	f.Check(err)
	f.Join(f.Store(), "n2")
	f.accepts()
}

func TestWhatBecomesOfANodesRecordThatCannotBeReadIsNotJudged(t *testing.T) {
	f := follow(lab.New(t))
	one, two := f.Join(f.Store(), "n1"), f.Join(f.Store(), "n2")
	f.Join(f.Store(), "n3")
	f.Leave("n3")
	b, demand := f.Claims(one, f.config, "10.42.17.0/26"), f.Demand(two)
	f.accepts()
	away, key := f.damaged("n3")
	f.damaged("n2")
	_, err := block.Transfer(t.Context(), one.Session, b, lab.Prefix("10.42.17.32/27"), demand) // to who has its session still
	f.Check(err)
	f.accepts()
	f.Put(key, away) // as nothing does
	for _, again := range f.transactions() {
		if f.checker.See(again) == nil {
			t.Error("a record that can be read is written without a session, and nobody says so")
		}
	}
}

// damaged has a node's record damaged by hand, and repaired as the doctor does it.
func (f *follower) damaged(node string) (was, key string) {
	f.Helper()
	key = f.s.KV.Keys.Node(node)
	got, err := f.Raw().Get(f.Context(), key)
	f.Check(err)
	was = string(got.Kvs[0].Value)
	f.Put(key, "{damaged")
	for _, damage := range f.transactions() {
		damage.ByHand = true
		f.Check(f.checker.See(damage))
	}
	f.Put(key, was)
	f.accepts()
	return was, key
}

// Leave ends a node's session at once.
func (f *follower) Leave(node string) { f.Delete(f.s.KV.Keys.Session(node)) }

func TestWhatIsCommittedInARecoveryAreSteps(t *testing.T) {
	f := follow(lab.New(t))
	f.Void(f.s)
	f.accepts()
	standing := f.Handshake(f.s, "n1", session.Past{})
	x := f.Join(f.s, "n1")
	_, err := block.Assert(t.Context(), x.Session, "default", lab.Prefix("10.42.16.0/26"),
		[]netip.Prefix{lab.Prefix("10.42.16.0/28")})
	f.Check(err)
	f.Check(f.s.Sessions.AcceptCluster(t.Context(), standing))
	f.accepts()
}

// Answers are lost, and calls repeated: what etcd commits are steps all the same.
func TestWhatManyCommitOverABrokenWayAreSteps(t *testing.T) {
	f := follow(lab.New(t))
	var nodes sync.WaitGroup
	for _, name := range []string{"n1", "n2"} {
		nodes.Go(func() {
			f.Shaky(func(s *lab.Store) {
				for n := range 6 {
					x := f.InsistJoin(s, name)
					if x == nil {
						return
					}
					f.Check(f.Insist(func(ctx context.Context) error {
						_, err := block.Claim(ctx, x.Session, "default", f.config.PoolRevisions["default"], lab.Prefix("10.42.16.0/26"))
						if errors.Is(err, block.ErrTaken) || session.Over(err) {
							return nil
						}
						return err
					}))
					err := f.Insist(func(ctx context.Context) error {
						_, err := x.Reserve(ctx, []reservation.Request{lab.Asking(f.config, "default", lab.Identity("db", n), name)})
						return err
					})
					if _, held := errors.AsType[*reservation.HeldError](err); err != nil && !held && !session.Over(err) {
						f.Error(err)
					}
				}
			})
		})
	}
	nodes.Wait()
	f.accepts()
}
