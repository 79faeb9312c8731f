package agent

import (
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/berth-ipam/berth/agent/member"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/clock"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/session"
)

// strict has the rig's node fence strictly, by these times.
func (r *rig) strict(session, addressLease time.Duration) {
	r.t.Helper()
	r.session = session
	r.change(func(c *config.Config) {
		c.Settings.Fencing = record.FencingStrict
		c.Settings.Session, c.Settings.AddressLease = allocator.Duration(session), allocator.Duration(addressLease)
	})
	r.until("the node's key says so, and both classes pass", func() bool {
		node := r.agent.Gate.Session().Node()
		return node.Fencing == record.FencingStrict && time.Duration(node.Session) == session &&
			time.Duration(node.AddressLease) == addressLease &&
			len(r.passing()) == 2 && r.passing()["stateless"] > addressLease/2
	})
}

// passing is for how long the kernel lets each class pass yet.
func (r *rig) passing() map[string]time.Duration {
	r.t.Helper()
	passing, err := r.agent.Kernel().Passing()
	check(r.t, err)
	return passing
}

// joins is what a stopped agent does up to its first proof.
func (r *rig) joins() *member.Prover {
	r.t.Helper()
	a := r.agent
	standing, err := a.keeper.Handshake(r.t.Context())
	check(r.t, err)
	config, err := a.Store.Config.Read(r.t.Context())
	check(r.t, err)
	a.Configure(config)
	me, _, err := a.keeper.NodeRecord(r.t.Context(), config)
	check(r.t, err)
	check(r.t, a.keeper.FenceBefore(me))
	unbroken := a.keeper.Unbroken()
	session, err := a.Store.Sessions.Join(r.t.Context(), me)
	check(r.t, err)
	if standing.Recovering {
		a.keeper.RecoveryLeft(standing)
	}
	p := &member.Prover{Agent: a.keeper, Session: session, Unbroken: unbroken}
	p.Settled.Store(true)
	return p
}

func (r *rig) foreign() {
	r.t.Helper()
	_, err := r.etcdctl().Put(r.t.Context(), "/berth/v1/cluster", `{"id": "c0ffee"}`)
	check(r.t, err)
}

func TestAClassThatWasNotArmedBeforeAProofDoesNotPassByIt(t *testing.T) {
	r := newRig(t)
	r.strict(2*time.Second, 6*time.Second)
	r.stop()
	r.open()
	check(t, r.agent.Kernel().CloseAll()) // the rights had run out
	r.foreign()
	p := r.joins()
	check(t, p.Arm())
	r.agent.keeper.Recovery.Began = time.Now().Add(-time.Hour) // the others' rights run out while the proof is on its way
	p.Proven(clock.Boottime())
	if got := r.passing(); len(got) != 0 {
		t.Errorf("%v pass: nothing was armed", got)
	}
	if got := r.agent.keeper.Unbroken(); got[allocator.Stateless] || got[allocator.Stateful] {
		t.Errorf("unbroken is %v, and nothing passes", got)
	}
	check(t, p.Arm())
	p.Proven(clock.Boottime())
	if got := slices.Sorted(maps.Keys(r.passing())); len(got) != 2 {
		t.Errorf("only %v pass after a proof for which all were armed", got)
	}
}

func TestStrictFencingThatBeginsInARecoveryOpensOnlyWhatWasUnbroken(t *testing.T) {
	r := newRig(t)
	r.stop()
	r.open()
	r.foreign()
	p := r.joins() // in evidence mode, and nothing is known of a right before
	check(t, p.Arm())
	p.Proven(clock.Boottime())
	r.change(func(c *config.Config) { c.Settings.Fencing = record.FencingStrict })
	p = r.joins()
	if got := r.passing(); len(got) != 0 {
		t.Errorf("%v pass, whose right had run out before the recovery", got)
	}
	check(t, p.Arm())
	p.Proven(clock.Boottime())
	if got := r.passing(); len(got) != 0 {
		t.Errorf("%v pass by the next proof", got)
	}
}

func TestAnAgentThatStartsUnderShorterTimesLeavesNoLongerTimerOpen(t *testing.T) {
	r := newRig(t)
	r.strict(2*time.Second, time.Minute)
	r.stop()
	r.change(func(c *config.Config) { c.Settings.AddressLease = allocator.Duration(6 * time.Second) })
	r.open()
	r.joins()
	if left := r.passing()["stateless"]; left > 6*time.Second {
		t.Errorf("the node's key says 6 s, and the kernel lets pass for %s", left)
	}
}

func TestAShorterRightIsKeptBeforeTheNodesKeyTellsOfIt(t *testing.T) {
	r := newRig(t)
	r.strict(10*time.Second, time.Minute)
	r.stop()
	r.open()
	p := r.joins()
	check(t, p.Arm())
	p.Proven(clock.Boottime())
	if left := r.passing()["stateless"]; left < 30*time.Second {
		t.Fatalf("the kernel lets pass for %s", left)
	}
	me := p.Session.Node()
	me.AddressLease = allocator.Duration(12 * time.Second)
	check(t, r.agent.keeper.FenceBefore(me))
	if left := r.agent.Rights.Remaining(allocator.Stateless); left > 12*time.Second {
		t.Errorf("the key is about to say 12 s, and the agent goes on for %s", left)
	}
	if left := r.passing()["stateless"]; left > 12*time.Second {
		t.Errorf("the key is about to say 12 s, and the kernel lets pass for %s", left)
	}
}

func TestAShorterRightIsKeptBeforeTheNodeJoinsByIt(t *testing.T) {
	r := newRig(t) // by an address lease of a minute
	r.stop()
	r.open()
	p := r.joins()
	p.Proven(clock.Boottime())
	r.change(func(c *config.Config) { c.Settings.AddressLease = allocator.Duration(6 * time.Second) })
	r.put("nodes/n1", `{"name":"n1","machine":"another","boot":"b","journal":"j","fencing":"evidence","session":"2s","addressLease":"1m0s"}`)
	err := r.agent.keeper.PresentOnce(t.Context())
	if _, taken := errors.AsType[*session.NodeTakenError](err); !taken {
		t.Fatalf("the node joins under a name that is another machine's: %v", err)
	}
	if left := r.agent.Rights.Remaining(allocator.Stateless); left > 6*time.Second {
		t.Errorf("it was about to say 6 s, and goes on for %s", left)
	}
}

func TestAnAgentThatStartsInARecoveryKeepsOpenWhatTheKernelHasLeftOpen(t *testing.T) {
	r := newRig(t)
	r.strict(10*time.Second, time.Minute)
	r.foreign()
	r.until("the agent recovers", r.recovering)
	r.stop()
	r.open()
	before := r.passing()
	r.until("a part of the rights is over", func() bool {
		now := r.passing()
		return now["stateful"] < before["stateful"]-time.Second && now["stateless"] < before["stateless"]-time.Second
	})
	p := r.joins()
	check(t, p.Arm())
	p.Proven(clock.Boottime())
	if now := r.passing(); !p.Session.Recovering() || now["stateful"] <= before["stateful"]-time.Second ||
		now["stateless"] <= before["stateless"]-time.Second {
		t.Errorf("for %v they pass, for %v they did before the new agent's first proof", now, before)
	}
}

func TestAnAgentThatStartsInARecoveryKeepsClosedWhatTheKernelHasClosed(t *testing.T) {
	r := newRig(t)
	r.strict(2*time.Second, time.Minute)
	r.foreign()
	r.until("the agent recovers", r.recovering)
	r.stop()
	r.open()
	r.until("a right has run out", func() bool { return r.passing()["stateful"] == 0 })
	r.stop()
	r.start()
	if got := r.passing(); !r.recovering() || got["stateful"] != 0 || got["stateless"] == 0 {
		t.Errorf("%v pass", got)
	}
}

func TestTheTimersOfAMachineThatHasSleptSinceTellNoAgentThatARightIsUnbroken(t *testing.T) {
	r := newRig(t)
	r.strict(10*time.Second, time.Minute)
	r.stop()
	r.open()
	if got := r.agent.keeper.Unbroken(); !got[allocator.Stateful] || !got[allocator.Stateless] {
		t.Fatalf("unbroken is %v: want both, which pass", got)
	}
	past := r.agent.Journal.Cluster()
	past.Slept -= time.Second
	r.agent.Journal.SetCluster(past)
	if got := r.agent.keeper.Unbroken(); got[allocator.Stateful] || got[allocator.Stateless] {
		t.Errorf("unbroken is %v, and the timers stood still for a second", got)
	}
}

func TestARightThatHasRunOutIsBroken(t *testing.T) {
	r := newRig(t)
	r.stop()
	r.open()
	p := r.joins()
	check(t, p.Arm())
	p.Proven(clock.Boottime())
	if got := r.agent.keeper.Unbroken(); !got[allocator.Stateful] {
		t.Fatalf("unbroken is %v right after a proof", got)
	}
	r.until("the right has run out", func() bool { return r.agent.Rights.Remaining(allocator.Stateful) <= 0 })
	if got := r.agent.keeper.Unbroken(); got[allocator.Stateful] || !got[allocator.Stateless] {
		t.Errorf("unbroken is %v: want the stateless class alone", got)
	}
}

func TestAnAgentWithAnEtcdOfItsOwnDoesNotFence(t *testing.T) {
	r := newRig(t)
	r.stop()
	r.change(func(c *config.Config) { c.Settings.Fencing = record.FencingStrict })
	r.open()
	r.agent.Alone = true
	p := r.joins()
	fenced, err := r.agent.Kernel().Fenced()
	if err != nil || fenced || p.Session.Node().Fencing != record.FencingEvidence || r.agent.Strict() {
		t.Errorf("it fences: %v, %v; its key says %s", fenced, err, p.Session.Node().Fencing)
	}
}
