package agent

import (
	"context"
	"os"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/berth-ipam/berth/agent/addresses"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/sandbox"
	"github.com/berth-ipam/berth/netops"
)

// etcdctl is a client of the rig's etcd that knows nothing of Berth.
func (r *rig) etcdctl() *clientv3.Client {
	r.t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: r.etcd.Endpoints(), Logger: zap.NewNop()})
	check(r.t, err)
	r.t.Cleanup(func() { client.Close() })
	return client
}

// regain ends the session as etcd does with one that is not renewed, and waits for the next one.
func (r *rig) regain() {
	r.t.Helper()
	generation := func() int64 {
		return r.agent.Gate.Session().Generation()
	}
	before := generation()
	_, err := r.etcdctl().Delete(context.Background(), "/berth/v1/sessions/n1")
	check(r.t, err)
	r.until("the session is regained", func() bool { return generation() != before })
}

func TestABlockInUseThatEtcdLostIsClaimedAgain(t *testing.T) {
	r := newRig(t)
	addr := r.add(r.stateless("a", "web"))
	_, err := r.etcdctl().Delete(t.Context(), "/berth/v1/blocks/", clientv3.WithPrefix())
	check(t, err)
	r.regain()
	blocks, err := r.store.Blocks.List(t.Context())
	check(t, err)
	if len(blocks) != 1 || !blocks[0].Prefix.Contains(addr) || blocks[0].OwnerOf(addr) != "n1" {
		t.Errorf("blocks %v: want the one of %s, owned by n1", blocks, addr)
	}
}

func TestABlockThatEtcdGaveToAnotherIsNotAllocatedFromAndItsContainersAreIsolated(t *testing.T) {
	r := newRig(t)
	addr := r.add(r.stateless("a", "web"))
	pool := r.pool()
	key := "/berth/v1/blocks/default/" + pool.BlockOf(addr).Addr().String()
	_, err := r.etcdctl().Put(t.Context(), key,
		`{"prefix":"`+pool.BlockOf(addr).String()+`","parts":[{"prefix":"`+pool.BlockOf(addr).String()+`","owner":"n2"}]}`)
	check(t, err)
	r.until("it is isolated", func() bool { return r.agent.Journal.Isolated() == 1 })
	if next := r.add(r.stateless("b", "")); pool.BlockOf(next) == pool.BlockOf(addr) {
		t.Errorf("%s was allocated from n2's block", next)
	}
}

func TestABlockThatEtcdLostAndNobodyUsesIsNotAllocatedFrom(t *testing.T) {
	r := newRig(t)
	c := r.stateless("a", "web")
	r.add(c)
	r.del(c)
	r.until("it is published", func() bool { return r.agent.backlog.Len() == 0 })
	_, err := r.etcdctl().Delete(t.Context(), "/berth/v1/blocks/", clientv3.WithPrefix())
	check(t, err)
	r.regain()
	r.agent.addresses.Pools.With(addresses.SpaceKey{Pool: "default", Family: allocator.V4}, func(s *allocator.Space) {
		if parts := s.Parts(); len(parts) != 0 {
			t.Errorf("it still allocates from %v", parts)
		}
	})
}

func TestTheJournalForgetsWhatWasReleasedInABlockThatIsAnothersNow(t *testing.T) {
	r := newRig(t)
	c := r.stateless("a", "web")
	addr := r.add(c)
	r.del(c)
	if n := len(r.agent.Journal.Freed()); n != 1 {
		t.Fatalf("%d released addresses are known: want one", n)
	}
	pool := r.pool()
	block := pool.BlockOf(addr).String()
	r.put("blocks/default/"+pool.BlockOf(addr).Addr().String(), `{"prefix":"`+block+`","parts":[{"prefix":"`+block+`","owner":"n2"}]}`)
	r.regain()
	if freed := r.agent.Journal.Freed(); len(freed) != 0 {
		t.Errorf("it would claim %v in a recovery", freed)
	}
}

func TestAReservationThatEtcdAttachesHereAndNobodyHasIsDetached(t *testing.T) {
	r := newRig(t)
	c := r.stateful("a", "db", "db-0")
	addr := r.add(c)
	r.stop()
	check(t, os.Remove(r.agent.Journal.Path()))
	check(t, sandbox.Remove(c.Netns))
	r.start()
	r.until("it is detached", func() bool {
		s, err := r.store.Reservations.Of(t.Context(), "default", addr)
		check(t, err)
		return s.Holder == nil
	})
}

func TestOneRecordThatCannotBeReadKeepsNoNodeFromSettling(t *testing.T) {
	r := newRig(t)
	r.add(r.stateless("a", "web"))
	for _, key := range []string{"assignments/default/10.42.99.9", "reservations/default/10.42.0.9", "blocks/default/10.42.99.64",
		"nodes/n7"} {
		_, err := r.etcdctl().Put(t.Context(), "/berth/v1/"+key, "{")
		check(t, err)
	}
	r.regain()
	r.add(r.stateless("b", "web"))
}

func TestNothingCommitsThatAFormerSessionChose(t *testing.T) {
	r := newRig(t)
	add := r.onTheWay(r.stateless("a", "web"))
	r.regain()
	if add.anew(); add.Generation != r.generation() {
		t.Errorf("it has begun anew under the session of generation %d, want %d", add.Generation, r.generation())
	}
	add.undone()
}

func TestNothingCommitsThatAFormerConfigurationWired(t *testing.T) {
	r := newRig(t)
	add := r.onTheWay(r.stateless("a", "web"))
	pool := r.pool()
	pool.MTU = 1400
	r.apply(pool)
	r.until("the agent has the configuration", func() bool { p, _, err := r.agent.Pool("default"); return err == nil && p.MTU == 1400 })
	if add.anew(); add.Wiring.MTU != 1400 {
		t.Errorf("it is wired anew with an MTU of %d, want 1400", add.Wiring.MTU)
	}
	add.undone()
}

func TestAPortThatWentWhileNoAgentRanIsInNoClass(t *testing.T) {
	r := newRig(t)
	const gone = "bth000000000000"
	check(t, r.agent.Kernel().Join(netops.Member{Port: gone, Class: "stateless", Trusted: true}))
	r.restart()
	classes, err := r.agent.Kernel().Classes()
	check(t, err)
	if class, ok := classes[gone]; ok {
		t.Errorf("a port that does not exist is in class %s", class)
	}
}
