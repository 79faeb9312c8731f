package agent

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/wire"
)

// holdMany leaves a stopped node with n containers of the IPAM role, one at each address of as many blocks of its own as
// they need: in its journal, and the blocks in etcd.
func (r *rig) holdMany(n int) {
	r.t.Helper()
	pool := allocator.Pool{Name: "crowded", CIDRs: prefixes("172.16.0.0/12")}.WithDefaults()
	r.apply(pool)
	r.stop()
	r.open()
	defer r.stop()
	etcd := r.etcdctl()
	var puts []clientv3.Op
	send := func() {
		_, err := etcd.Txn(r.t.Context()).Then(puts...).Commit()
		check(r.t, err)
		puts = nil
	}
	addr := netip.MustParseAddr("172.16.0.0")
	for i := range n {
		at := allocator.Attachment{Network: "net", Container: fmt.Sprint("many-", i), Interface: "eth0"}
		check(r.t, r.agent.Journal.Hold(&journal.Entry{
			Attachment: at, Role: wire.IPAM, Class: allocator.Stateless, App: allocator.App{Namespace: "ns", Name: "web"},
			Pool: "crowded", Addresses: []netip.Addr{addr}, Began: 1, Answered: 1,
		}))
		if block := pool.BlockOf(addr); block.Addr() == addr {
			puts = append(puts, clientv3.OpPut("/berth/v1/blocks/crowded/"+addr.String(),
				fmt.Sprintf(`{"prefix":"%s","parts":[{"prefix":"%[1]s","owner":"n1"}]}`, block)))
		}
		if len(puts) == 100 {
			send()
		}
		addr = addr.Next()
	}
	send()
}

// BenchmarkAnAgentStarts tells how long a start takes until the agent is ready, by how many containers its node has.
func BenchmarkAnAgentStarts(b *testing.B) {
	for _, n := range []int{0, 10_000, 50_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r := newRig(b)
			r.patience = 5 * time.Minute
			r.holdMany(n)
			for b.Loop() {
				r.start()
				b.StopTimer()
				r.stop()
				b.StartTimer()
			}
		})
	}
}
