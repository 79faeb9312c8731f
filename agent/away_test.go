package agent

import (
	"fmt"
	"os"
	"testing"

	"github.com/berth-ipam/berth/agent/addresses"
	"github.com/berth-ipam/berth/agent/isolation"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/clock"
	"github.com/berth-ipam/berth/internal/wire"
)

// members adds that many stateful containers in the IPAM role.
func (r *rig) members(n int) (all []wire.Container) {
	r.t.Helper()
	for i := range n {
		c := r.stateful(fmt.Sprint("db-", i), "db", fmt.Sprint("db-", i))
		c.Role = wire.IPAM
		r.add(c)
		all = append(all, c)
	}
	return all
}

// Each of these would wait for etcd, in vain, if the agent let it learn of each before it went on.
const tooManyToWaitFor = 40

func TestNotesAreDoneAtOnceWhileEtcdIsAway(t *testing.T) {
	r := newRig(t)
	all := r.members(tooManyToWaitFor)
	r.stop()
	r.etcd.Stop()
	for _, c := range all {
		check(t, wire.WriteNote(r.agent.Spool(), wire.Note{Started: int64(clock.Boottime()), Container: c}))
	}
	r.begin()
	r.until("every note is done", func() bool {
		left, err := os.ReadDir(r.agent.Spool())
		check(t, err)
		return len(left) == 0
	})
	r.startEtcd()
	r.empty()
}

func TestGarbageCollectionIsDoneAtOnceWhileEtcdIsAway(t *testing.T) {
	r := newRig(t)
	r.members(tooManyToWaitFor)
	for i := range tooManyToWaitFor {
		age(t, r, fmt.Sprint("db-", i))
	}
	r.etcd.Stop()
	ended := make(chan error, 1)
	go func() {
		response, err := wire.Call(t.Context(), r.agent.socket.Path, 0, &wire.Request{Operation: wire.GC, Network: "net"}, nil)
		if err == nil && response.Error != nil {
			err = response.Error
		}
		ended <- err
	}()
	r.until("it is done", func() bool { return len(ended) > 0 })
	check(t, <-ended)
	r.startEtcd()
	r.empty()
}

func TestNobodyWhoHasGoneIsIsolated(t *testing.T) {
	r := newRig(t)
	c := r.stateless("a", "web")
	r.add(c)
	e := r.agent.Journal.Entries()[0]
	r.del(c)
	r.agent.isolator.Isolate(e.Attachment, isolation.LostFor(e, "its block was lost, and it went in that moment"))
	if n := r.agent.Journal.Isolated(); n != 0 {
		t.Errorf("%d are isolated: nobody would ever say that they are gone", n)
	}
	r.add(c)
}

func TestAnAddressThatStillRestsIsWaitedForAlsoWhileEtcdIsAway(t *testing.T) {
	r := newRig(t)
	r.apply(allocator.Pool{Name: "small", CIDRs: prefixes("10.43.0.0/24"), BlockSize: allocator.BlockSize{V4: 29}})
	r.until("the agent has the pool", func() bool { _, _, err := r.agent.Pool("small"); return err == nil })
	plain := func(id string) wire.Container {
		c := r.stateless(id, "")
		c.Role, c.Pool = wire.IPAM, "small"
		return c
	}
	k := addresses.SpaceKey{Pool: "small", Family: allocator.V4}
	r.add(plain("first"))
	r.until("the next block is claimed ahead of need", func() bool { return r.counts(k).Free > 8 })
	r.etcd.Stop()
	defer r.startEtcd()
	last := plain("last")
	for i := 0; r.counts(k).Free > 1; i++ {
		r.add(plain(fmt.Sprint(i)))
	}
	addr := r.add(last)
	r.del(last)
	if got := r.add(plain("next")); got != addr {
		t.Errorf("got %s, want the only one that this node has, %s", got, addr)
	}
}
