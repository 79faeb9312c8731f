package agent

import (
	"slices"
	"testing"

	"github.com/berth-ipam/berth/lease"
)

func TestABlockInAStatefulRangeIsGivenBackThoughThereIsNoOtherToSpare(t *testing.T) {
	r := newRig(t)
	r.add(r.stateless("a", "web")) // of the node's only other block
	_, err := r.etcdctl().Put(t.Context(), "/berth/v1/blocks/default/10.42.3.0", `{"prefix":"10.42.3.0/26","parts":[{"prefix":"10.42.3.0/26","owner":"n1"}]}`)
	check(t, err)
	r.until("it is given back", func() bool {
		r.agent.giveBackBlocks(t.Context())
		blocks, err := r.store.Blocks(t.Context())
		check(t, err)
		return !slices.ContainsFunc(blocks, func(b lease.Block) bool { return b.Prefix.String() == "10.42.3.0/26" })
	})
}
