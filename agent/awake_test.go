package agent

import (
	"testing"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/clock"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/netops"
)

// proven has the rig's agent, which does not run, prove its rights once.
func (r *rig) proven() {
	r.t.Helper()
	r.stop()
	r.open()
	p := r.joins()
	check(r.t, p.Arm())
	p.Proven(clock.Boottime())
	if len(r.agent.Untrusted) != 0 || r.agent.Rights.Remaining(allocator.Stateless) <= 0 {
		r.t.Fatal("it is shaken already, or has no right")
	}
}

func TestAMachineThatWasShakenClosesItsFenceAndJoinsAnew(t *testing.T) {
	r := newRig(t)
	r.change(func(c *config.Config) { c.Settings.Fencing = record.FencingStrict })
	r.proven()
	r.agent.keeper.Distrust()
	if got := r.passing(); len(got) != 0 || len(r.agent.Untrusted) != 1 {
		t.Errorf("%v pass still; to join anew it was told %d times", got, len(r.agent.Untrusted))
	}
	r.stop()
	r.start()
	before := r.generation()
	r.agent.keeper.Distrust()
	r.until("it has joined anew, and both classes pass", func() bool { return r.generation() > before && len(r.passing()) == 2 })
}

func TestWithoutAFenceASleepChangesNothing(t *testing.T) {
	r := newRig(t)
	r.proven()
	r.agent.keeper.Distrust()
	if len(r.agent.Untrusted) != 0 {
		t.Error("it joins anew, though its rights have counted the sleep")
	}
}

func TestAClonedMachineHasNoRightBeforeItsNextProof(t *testing.T) {
	for _, mode := range []string{record.FencingEvidence, record.FencingStrict} {
		t.Run(mode, func(t *testing.T) {
			r := newRig(t)
			r.change(func(c *config.Config) { c.Settings.Fencing = mode })
			r.proven()
			r.agent.detacher.Handle(t.Context(), netops.Event{Kind: netops.Cloned})
			unbroken := r.agent.keeper.Unbroken()[allocator.Stateless]
			if left := r.agent.Rights.Remaining(allocator.Stateless); left > 0 || unbroken || len(r.passing()) != 0 {
				t.Errorf("%s are left of its right, by clocks that stood still unnoticed, and %v pass", left.Round(time.Second), r.passing())
			}
			if len(r.agent.Untrusted) != 1 {
				t.Error("it does not join anew")
			}
		})
	}
}

func TestATableThatAnotherHasChangedIsBackAndClosedInStrictMode(t *testing.T) {
	r := newRig(t)
	r.change(func(c *config.Config) { c.Settings.Fencing = record.FencingStrict })
	r.proven()
	r.agent.detacher.Handle(t.Context(), netops.Event{Kind: netops.TableChanged})
	if fenced, err := r.agent.Kernel().Fenced(); err != nil || !fenced || len(r.passing()) != 0 || len(r.agent.Untrusted) != 1 {
		t.Errorf("it is fenced: %v, %v; %v pass; to join anew it was told %d times", fenced, err, r.passing(), len(r.agent.Untrusted))
	}
}
