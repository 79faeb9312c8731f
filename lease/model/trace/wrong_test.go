package trace_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/model/trace"
	"github.com/berth-ipam/berth/lease/record"
)

// Who takes has waited until the former owner's right has run out, by the times of the transactions.
func TestATakeBeforeTheRightHasRunOutIsSeen(t *testing.T) {
	f := follow(lab.New(t))
	away, absence := f.Away(f.config, "gone", "10.42.16.0/26")
	two := f.Join(f.s, "n2")
	_, err := block.TakeOver(t.Context(), two.Session, away, f.config.PoolRevisions["default"], absence)
	f.Check(err)
	right := time.Duration(lab.Node("gone").AddressLease)
	all := f.transactions()
	for _, wait := range []time.Duration{right, ipam.WaitOut(right)} {
		checker, last := trace.New(f.s.KV.Keys, false), error(nil)
		for i, each := range all {
			if each.At = f.at(0); i == len(all)-1 {
				each.At = f.at(wait)
			}
			last = checker.See(each)
		}
		_, wrong := errors.AsType[*trace.StepError](last)
		if early := wait == right; early != wrong || wrong && !strings.Contains(last.Error(), "its right has run out false: want true") {
			t.Errorf("a take after %s: %v", wait, last)
		}
	}
}

// at is a time after some beginning.
func (f *follower) at(after time.Duration) time.Time { return time.Unix(0, 0).Add(after) }

// TestATransactionThatIsNoStepIsSeen writes what the code never would, after what it does.
func TestATransactionThatIsNoStepIsSeen(t *testing.T) {
	f := follow(lab.New(t))
	one := f.Join(f.s, "n1")
	f.Join(f.Store(), "n2")
	b := f.Claims(one, f.config, "10.42.16.0/26")
	f.Check(f.reserve(one, 0, "a"))
	f.Check(f.reserve(one, 0, "a"))
	reservations, err := f.s.Reservations.List(t.Context())
	f.Check(err)
	r := reservations[0]
	f.accepts()

	keys := f.s.KV.Keys
	holder := func(node, container string) *record.Holder {
		return &record.Holder{Node: node, Attachment: lab.Attachment(container), Since: time.Now()}
	}
	at, reserved := keys.Block(b.Pool, b.Prefix), keys.Reservation(r.Pool, r.Address)
	parts := func(text ...string) clientv3.Op {
		return kv.Put(at, record.Block{Pool: b.Pool, Prefix: b.Prefix, Parts: lab.Parts(text...)})
	}
	changed := func(change func(*record.Reservation)) clientv3.Op {
		next := r
		change(&next)
		return kv.Put(reserved, next)
	}
	n1, n1Moved := lab.Node("n1"), lab.Node("n1")
	n1Moved.Machine = "another"
	all, err := f.Raw().Get(t.Context(), keys.Prefix, clientv3.WithPrefix())
	f.Check(err)
	before := []clientv3.Op{clientv3.OpDelete(keys.Prefix + "sessionz/n1")}
	for _, each := range all.Kvs { // in one transaction, so that each session is its node's generation's
		before = append(before, clientv3.OpPut(string(each.Key), string(each.Value)))
	}
	for what, ops := range map[string][]clientv3.Op{
		"raised -1":                                {changed(func(r *record.Reservation) { r.Epoch-- })},
		"another attachment's":                     {changed(func(r *record.Reservation) { r.Holder = holder("n1", "b") })},
		"another identity's":                       {changed(func(r *record.Reservation) { r.Identity = lab.Identity("db", 1); r.Epoch++ })},
		"the other has a sessio":                   {changed(func(r *record.Reservation) { r.Holder = holder("n2", "b"); r.Epoch++ })},
		"the other has a session false: want true": {parts("10.42.16.0/27", "n1", "10.42.16.32/27", "n3")},
		"kept for reservations":                    {parts("10.42.16.0/26", "stateful")},
		"cannot be read":                           {clientv3.OpPut(at, "{damaged")},
		"node n1 goes":                             {kv.Put(keys.Node("n1"), n1)},
		"node n2 goes":                             {kv.Put(keys.Session("n2"), record.Presence{})},
		"another machine's": {
			kv.Put(keys.Node("n1"), n1Moved), kv.Put(keys.Session("n1"), record.Presence{}),
		},
		"another etcd's": {kv.Put(keys.Cluster(), record.Cluster{ID: "abc"})},
		"(block.Release) and": {
			clientv3.OpDelete(at), changed(func(r *record.Reservation) { r.Holder = nil }),
		},
		"sessionz": {clientv3.OpPut(keys.Prefix+"sessionz/n1", "{}")},
	} {
		_, err := f.Raw().Txn(t.Context()).Then(before...).Commit()
		f.Check(err)
		f.begin()
		_, err = f.Raw().Txn(t.Context()).Then(ops...).Commit()
		f.Check(err)
		for _, transaction := range f.transactions() {
			wrong, is := errors.AsType[*trace.StepError](f.checker.See(transaction))
			if !is || !strings.Contains(wrong.Error(), what) {
				t.Errorf("%q is not seen: %v", what, wrong)
			}
		}
	}
}
