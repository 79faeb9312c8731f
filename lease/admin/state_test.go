package admin_test

import (
	"fmt"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/lease/admin"
	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/session"
)

func TestTheStateIsAllOfOneRevisionAndNamesWhatCannotBeRead(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	config := l.Apply(s, lab.Smallest())
	l.Handshake(s, "n1", session.Past{})
	x := l.Join(s, "n1")
	_, err := block.Claim(t.Context(), x.Session, "default", config.PoolRevisions["default"], lab.Prefix("10.42.64.0/26"))
	l.Check(err)
	_, err = s.Reservations.ReserveFor(t.Context(), config.Pools["default"], config.PoolRevisions["default"], lab.Identity("db", 0), nil)
	l.Check(err)
	raw := l.Raw()
	for key, value := range map[string]string{
		"nonsense": "{}", "blocks/default/10.42.64.0/x": "{}", "assignments/default/10.42.64.9": "{", "questions/1": "{}",
	} {
		_, err := raw.Put(t.Context(), s.KV.Keys.Prefix+key, value)
		l.Check(err)
	}
	state, err := s.Admin.State(t.Context())
	l.Check(err)
	if len(state.Blocks) != 2 || len(state.Reservations) != 1 || len(state.Identities) != 1 || !state.Live("n1") ||
		state.Nodes["n1"].Machine == "" {
		t.Errorf("the state is %+v", state)
	}
	if state.Cluster == nil || state.Cluster.ID != state.ClusterID || state.Changed != config.Revision ||
		state.Pools["default"].Name != "default" {
		t.Errorf("of the configuration and the cluster it says %+v", state)
	}
	if len(state.Bad) != 3 {
		t.Errorf("what cannot be read is %v", state.Bad)
	}
	if key := (kv.Key{Kind: kv.KindBlock, Pool: "default", Address: lab.Addr("10.42.64.0")}); state.RevisionOf(key) == 0 || !state.Has(key) {
		t.Errorf("of %s it has no revision", state.Text(key))
	}
}

func TestTheStateIsReadInPages(t *testing.T) {
	l := lab.New(t)
	s, raw := l.Store(), l.Raw()
	const many = 2*admin.PageSize + 3
	for n := 0; n < many; n += kv.MaxOps {
		var ops []clientv3.Op
		for i := n; i < min(n+kv.MaxOps, many); i++ {
			key := kv.Key{Kind: kv.KindAssignment, Pool: "default", Address: lab.Addr(fmt.Sprintf("10.42.%d.%d", i/256, i%256))}
			ops = append(ops, kv.Put(s.KV.Keys.Of(key), record.Assignment{Node: "n1", Attachment: lab.Attachment("c")}))
		}
		_, err := raw.Txn(t.Context()).Then(ops...).Commit()
		l.Check(err)
	}
	state, err := s.Admin.State(t.Context())
	l.Check(err)
	if len(state.Assignments) != many {
		t.Errorf("it has %d assignments, want %d", len(state.Assignments), many)
	}
}

func TestARepairIsCarriedOutOnlyWhileAllIsAsItWasRead(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	l.Join(s, "n1")
	node, status := kv.Key{Kind: kv.KindNode, Node: "n1"}, kv.Key{Kind: kv.KindStatus, Node: "n9"}
	l.Put(s.KV.Keys.Of(status), "{}")
	remedy := admin.Repair{Same: []kv.Key{node, {Kind: kv.KindNode, Node: "n9"}}, Delete: []string{s.KV.Keys.Of(status)}}

	state, err := s.Admin.State(t.Context())
	l.Check(err)
	l.Join(s, "n1")
	if done, err := s.Admin.Repair(t.Context(), state, remedy); done || err != nil {
		t.Errorf("after the node's key has changed: %v, %v", done, err)
	}
	state, err = s.Admin.State(t.Context())
	l.Check(err)
	l.Join(s, "n9")
	if done, err := s.Admin.Repair(t.Context(), state, remedy); done || err != nil {
		t.Errorf("after an absent key has come: %v, %v", done, err)
	}
	state, err = s.Admin.State(t.Context())
	l.Check(err)
	if done, err := s.Admin.Repair(t.Context(), state, remedy); !done || err != nil {
		t.Errorf("of what is as it was: %v, %v", done, err)
	}
	if left, err := s.Rollout.Statuses(t.Context()); err != nil || len(left) != 0 {
		t.Errorf("the statuses are %v, %v", left, err)
	}
}
