package agent

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/record"
)

// restored makes the rig's state look like that of another etcd, as after a restore with a new token.
func (r *rig) restored(damage func()) {
	r.t.Helper()
	damage()
	_, err := r.etcdctl().Put(r.t.Context(), "/berth/v1/cluster", `{"id": "c0ffee"}`)
	check(r.t, err)
	r.until("the agent recovers", func() bool { return r.recovering() })
}

func (r *rig) recovering() bool {
	return r.agent.Gate.Session() != nil && r.agent.Gate.Session().Recovering()
}

// brief makes rights as short as they can be.
func (r *rig) brief(change ...func(*config.Config)) {
	r.t.Helper()
	r.change(func(c *config.Config) {
		c.Settings.Session, c.Settings.AddressLease = allocator.Duration(2*time.Second), allocator.Duration(6*time.Second)
		for _, f := range change {
			f(c)
		}
	})
	revision := r.config().Revision
	r.until("the agent has it", func() bool {
		node := r.agent.Gate.Session().Node()
		return r.agent.Config().Revision == revision && time.Duration(node.AddressLease) == 6*time.Second &&
			node.Fencing == r.agent.Config().Settings.Fencing
	})
}

func (r *rig) config() *config.Config {
	r.t.Helper()
	c, err := r.store.Config.Read(r.t.Context())
	check(r.t, err)
	return c
}

func TestAfterARestoreWhatRunsIsAssertedAndNothingNewIsGivenUntilEveryRightHasRunOut(t *testing.T) {
	r := newRig(t)
	r.brief()
	stays, member := r.stateless("a", "web"), r.stateful("b", "db", "db-0")
	had, reserved := r.add(stays), r.add(member)
	r.restored(func() {
		for _, kind := range []string{"blocks", "assignments", "reservations", "identities"} {
			r.forgetAll(kind)
		}
	})

	blocks, err := r.store.Blocks.List(t.Context())
	check(t, err)
	asserted := map[string]bool{}
	for _, b := range blocks {
		asserted[b.OwnerOf(had)+b.OwnerOf(reserved)] = true
	}
	s, err := r.store.Reservations.Of(t.Context(), "default", reserved)
	check(t, err)
	if !asserted["n1"] || !asserted[record.OwnerStateful] || s == nil || s.Holder == nil || s.Holder.Attachment.Container != "b" {
		t.Errorf("asserted were %+v and %+v", blocks, s)
	}
	if next := r.add(r.stateless("c", "web")); blocks[0].Pool == "" || !r.sameBlock(next, had) {
		t.Errorf("ADD goes on with %s, which is not of the block that was asserted with %s", next, had)
	}
	refusal := r.refused(wire.CodeTryAgain, r.stateful("d", "db", "db-1"))
	if !strings.Contains(refusal.Error(), "restored") {
		t.Errorf("it does not say why: %v", refusal)
	}

	r.until("the recovery is over", func() bool { return !r.recovering() })
	r.add(r.stateful("e", "db", "db-2"))
	if _, err := r.ask(wire.Read, stays, member); err != nil {
		t.Error(err)
	}
}

func (r *rig) forgetAll(kind string) {
	r.t.Helper()
	_, err := r.etcdctl().Delete(r.t.Context(), "/berth/v1/"+kind+"/", withPrefix)
	check(r.t, err)
}

func TestARestartWhileEtcdRecoversHandsOutOnlyWhatTheJournalKnows(t *testing.T) {
	r := newRig(t) // an address lease of a minute: the recovery outlasts the test
	gone, stays := r.stateless("a", "web"), r.stateless("b", "web")
	had := r.add(gone)
	r.add(stays)
	r.del(gone)
	r.restored(func() {})
	r.restart()
	if !r.recovering() {
		t.Fatal("the recovery is over before every right has run out")
	}
	if got := r.add(r.stateless("c", "web")); got != had {
		t.Errorf("ADD gave %s: want %s, which the journal knows to be free", got, had)
	}
	r.refused(wire.CodeTryAgain, r.stateless("d", "other"))
}

func TestAPoolThatEtcdHadLostIsAssertedWhenItIsAppliedAgain(t *testing.T) {
	r := newRig(t)
	r.brief()
	addr := r.add(r.stateless("a", "web"))
	current := r.config()
	r.stop() // a running agent would restore its block, by which etcd is known to have had a configuration
	r.forgetAll("blocks")
	_, err := r.etcdctl().Delete(t.Context(), "/berth/v1/config/", withPrefix)
	check(t, err)
	_, err = r.etcdctl().Delete(t.Context(), "/berth/v1/cluster")
	check(t, err)
	r.start()
	if _, err := r.ask(wire.Insert, r.stateless("b", "web")); err == nil {
		t.Fatal("there is no pool, and an address was given")
	}
	empty := r.config()
	next := current.Clone()
	next.Revision, next.PoolRevisions = empty.Revision, nil
	_, err = r.store.Editor.Apply(t.Context(), empty, next, config.Note{})
	check(t, err)
	r.until("the block is asserted", func() bool {
		blocks, err := r.store.Blocks.List(t.Context())
		check(t, err)
		return len(blocks) == 1 && blocks[0].OwnerOf(addr) == "n1"
	})
}

func TestAnIPAMContainerIsRefusedUnderStrictFencing(t *testing.T) {
	r := newRig(t)
	r.brief(func(c *config.Config) { c.Settings.Fencing = record.FencingStrict })
	c := r.stateless("a", "web")
	c.Role = wire.IPAM
	if refusal := r.refused(wire.CodeConfig, c); !strings.Contains(refusal.Error(), "strict") {
		t.Errorf("it does not say why: %v", refusal)
	}
	r.add(r.stateless("b", "web"))
}

func TestTheFenceIsInForceWhileTheNodesKeySaysStrict(t *testing.T) {
	r := newRig(t)
	fenced := func() bool {
		is, err := r.agent.Kernel().Fenced()
		check(t, err)
		return is
	}
	for _, mode := range []string{record.FencingStrict, record.FencingEvidence, record.FencingStrict} {
		r.brief(func(c *config.Config) { c.Settings.Fencing = mode })
		r.until("the fence is as the mode says", func() bool { return fenced() == (mode == record.FencingStrict) })
		nodes, err := r.store.Nodes.Nodes(t.Context())
		check(t, err)
		if nodes[0].Fencing != mode {
			t.Errorf("the node's key says %s: want %s", nodes[0].Fencing, mode)
		}
	}
	r.restart()
	if !fenced() {
		t.Error("a restart has lifted the fence")
	}
}

func TestAReservationThatNobodyHadForItsRetainTimeIsEnded(t *testing.T) {
	r := newRig(t)
	running, ended := r.stateful("a", "db", "db-0"), r.stateful("b", "db", "db-1")
	kept, over := r.add(running), r.add(ended)
	r.del(ended)
	r.until("this node is the first of those that live", func() bool { return r.agent.Absences.First("n1") })
	r.agent.caretaker.EndOver(t.Context(), time.Now().Add(time.Hour))
	has := func(what string, addr, want bool) {
		t.Helper()
		if addr != want {
			t.Errorf("%s: reserved is %v, want %v", what, addr, want)
		}
	}
	has("without a retain time", r.reserved(over.String()), true)
	r.change(func(c *config.Config) {
		p := c.Pools["default"]
		p.Retain = allocator.Duration(30 * time.Minute)
		c.Pools["default"] = p
	})
	r.until("the agent knows", func() bool { return r.agent.Config().Pools["default"].Retain > 0 })
	r.agent.caretaker.EndOver(t.Context(), time.Now().Add(10*time.Minute))
	has("within the time", r.reserved(over.String()), true)
	r.agent.caretaker.EndOver(t.Context(), time.Now().Add(time.Hour))
	has("after the time", r.reserved(over.String()), false)
	has("of a container that runs", r.reserved(kept.String()), true)
	identities, err := r.etcdctl().Get(t.Context(), "/berth/v1/identities/", withPrefix)
	check(t, err)
	if len(identities.Kvs) != 1 {
		t.Errorf("%d identities are left: want 1", len(identities.Kvs))
	}
}

func TestARecoveryIsVisibleAndSaysUntilWhen(t *testing.T) {
	r := newRig(t) // an address lease of a minute: the recovery outlasts the test
	r.restored(func() {})
	var text string
	r.until("the status shows it", func() bool {
		statuses, err := r.store.Rollout.Statuses(t.Context())
		check(t, err)
		for _, f := range statuses["n1"].Findings {
			if f.Kind == "recovery" {
				text = f.Text
			}
		}
		return text != ""
	})
	_, body := r.readyz()
	until := regexp.MustCompile(`recovery etcd: .* until about (\S+) `).FindStringSubmatch(body)
	if until == nil {
		t.Fatalf("/readyz says %q: want until when", body)
	}
	for _, c := range []wire.Container{r.stateful("d", "db", "db-1"), r.stateless("a", "web")} {
		if refusal := r.refused(wire.CodeTryAgain, c); !strings.Contains(refusal.Error(), until[1]) || !strings.Contains(text, until[1]) {
			t.Errorf("the refusal says %v, the status %q: want both to say until when, %s", refusal, text, until[1])
		}
	}
}

func TestARecoveryThatIsOverIsNotReportedAnyMore(t *testing.T) {
	r := newRig(t)
	r.brief()
	r.restored(func() {})
	r.until("it is over, and nothing is told of it any more", func() bool {
		return !r.recovering() && r.agent.Findings.Counts()["recovery"] == 0
	})
	if _, stood := r.agent.Findings.Counts()["recovery"]; !stood {
		t.Error("it was never told")
	}
}
