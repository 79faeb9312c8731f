package agent

import (
	"net/netip"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/allocator"
)

// A member is released and reserved anew between the backup of etcd and its restore: the restored records name what it had before.
func TestAfterARestoreAMemberKeepsWhatItsContainerHasAndNotWhatItHadBefore(t *testing.T) {
	r := newRig(t)
	r.brief()
	before, now := r.stateful("a", "db", "db-0"), r.stateful("b", "db", "db-0")
	before.Addresses, now.Addresses = []string{"10.42.0.7"}, []string{"10.42.0.9"}
	r.add(before)
	r.del(before)
	restore := []clientv3.Op{clientv3.OpPut("/berth/v1/cluster", `{"id": "c0ffee"}`)}
	for _, key := range []string{"identities/net/ns/db/db-0/eth0", "reservations/default/10.42.0.7"} {
		got, err := r.etcdctl().Get(t.Context(), "/berth/v1/"+key)
		check(t, err)
		restore = append(restore, clientv3.OpPut("/berth/v1/"+key, string(got.Kvs[0].Value)))
	}
	_, err := r.store.Reservations.End(t.Context(), allocator.Identity{
		Namespace: "ns", App: "db", Member: "db-0", Network: now.Network, Interface: now.Interface}, false)
	check(t, err)
	has := r.add(now)
	_, err = r.etcdctl().Txn(t.Context()).Then(append(restore, clientv3.OpDelete("/berth/v1/reservations/default/10.42.0.9"))...).Commit()
	check(t, err)
	r.until("the agent recovers", r.recovering)
	r.until("the recovery is over", func() bool { return !r.recovering() })
	all, err := r.store.Reservations.List(t.Context())
	check(t, err)
	if len(all) != 1 || all[0].Address != has || all[0].Holder == nil {
		t.Errorf("reserved are %+v: want %s alone", all, has)
	}
	r.del(now)
	if a := r.add(r.stateful("c", "db", "db-0")); a != has || has != netip.MustParseAddr("10.42.0.9") {
		t.Errorf("it had %s, and its next container has %s", has, a)
	}
}
