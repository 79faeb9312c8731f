package agent

import (
	"sync/atomic"
	"testing"

	"github.com/berth-ipam/berth/agent/isolation"
	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/agent/node"
)

// An interleaved kernel is the host's, at whose side something is done just before a port is opened, as another goroutine may.
type interleaved struct {
	node.Kernel
	beforeJoin atomic.Pointer[func()] // done once
}

func (k *interleaved) Join(port, class string) error {
	if do := k.beforeJoin.Swap(nil); do != nil {
		(*do)()
	}
	return k.Kernel.Join(port, class)
}

// interleave restarts the agent on such a kernel.
func (r *rig) interleave() *interleaved {
	r.t.Helper()
	r.stop()
	r.open()
	k := &interleaved{Kernel: r.agent.Kernel()}
	r.agent.UseKernel(k)
	r.run()
	r.until("the agent is ready", func() bool { return r.agent.reporter.NotReady() == nil })
	return k
}

func TestAnIsolationThatComesWhileAPortIsOpenedIsSeen(t *testing.T) {
	r := newRig(t)
	k := r.interleave()
	session, adds := r.chosen("a")
	isolate := func() {
		r.agent.isolator.Isolate(adds[0].Attachment, isolation.LostFor(adds[0].Entry, "its address is another's by now"))
	}
	k.beforeJoin.Store(&isolate)
	if err := r.agent.attacher.Commit(session, adds); err == nil {
		t.Error("it is answered with an address that is another's")
	}
	if k.beforeJoin.Load() != nil || r.agent.Journal.Isolation(adds[0].Attachment) == nil {
		t.Fatal("it was not isolated while its port was opened")
	}
	if r.passes(adds[0].Entry.Wiring.Port) {
		t.Error("it is isolated, and its port passes")
	}
	r.agent.attacher.Undo(adds[0])
	r.empty()
}

func TestAnAttachmentDoesNotLoseWhatItsFormerLifeHasLost(t *testing.T) {
	r := newRig(t)
	c := r.stateless("a", "web")
	r.add(c)
	former := r.agent.Journal.Get(attachmentOf(c))
	r.add(c)
	r.agent.isolator.Isolate(former.Attachment, isolation.LostFor(former, "its address is another's"))
	if e := r.agent.Journal.Get(former.Attachment); e.Isolated != nil || !r.passes(e.Wiring.Port) {
		t.Errorf("the present one is isolated: %v, passes: %v", e.Isolated, r.passes(e.Wiring.Port))
	}
}

// once says of an attachment that it has lost its address, and the next time that it has not.
func once() func(*journal.Entry) *journal.Isolation {
	said := false
	return func(*journal.Entry) *journal.Isolation {
		if said {
			return nil
		}
		said = true
		return &journal.Isolation{Reason: "its address is another's", Epoch: journal.Never}
	}
}

func TestALossThatHasEndedBeforeItIsWrittenCutsNobody(t *testing.T) {
	r := newRig(t)
	r.add(r.stateless("a", "web"))
	e := r.agent.Journal.Entries()[0]
	r.agent.isolator.Isolate(e.Attachment, once())
	if r.agent.Journal.Isolation(e.Attachment) != nil || !r.passes(e.Wiring.Port) {
		t.Errorf("it is isolated: %v, passes: %v", r.agent.Journal.Isolation(e.Attachment), r.passes(e.Wiring.Port))
	}
	// An ADD that is not answered yet does not pass by it.
	session, adds := r.chosen("b")
	r.agent.isolator.Isolate(adds[0].Attachment, once())
	if r.passes(adds[0].Entry.Wiring.Port) {
		t.Error("it passes before its ADD is answered")
	}
	check(t, r.agent.attacher.Commit(session, adds))
	if !r.passes(adds[0].Entry.Wiring.Port) {
		t.Error("it is answered and does not pass")
	}
}

func TestALossIsLookedAtAgainWhereItsEntryHasChangedMeanwhile(t *testing.T) {
	r := newRig(t)
	r.add(r.stateless("a", "web"))
	e := r.agent.Journal.Entries()[0]
	looks := 0
	r.agent.isolator.Isolate(e.Attachment, func(now *journal.Entry) *journal.Isolation {
		if looks++; looks == 2 { // a roll-out writes it anew
			next := *now
			next.Revision++
			check(t, r.agent.Journal.Change(&next))
		}
		return &journal.Isolation{Reason: "its address is another's", Epoch: journal.Never}
	})
	if now := r.agent.Journal.Get(e.Attachment); now.Isolated == nil || now.Revision != e.Revision+1 || r.passes(e.Wiring.Port) {
		t.Errorf("it is %+v, and passes: %v", now, r.passes(e.Wiring.Port))
	}
}

func TestAPortThatIsIsolatedIsNotOpenedForAMoment(t *testing.T) {
	r := newRig(t)
	k := r.interleave()
	session, adds := r.chosen("a")
	r.agent.isolator.Isolate(adds[0].Attachment, isolation.LostFor(adds[0].Entry, "its address is another's by now"))
	opened := func() {}
	k.beforeJoin.Store(&opened)
	if err := r.agent.attacher.Commit(session, adds); err == nil {
		t.Error("it is answered with an address that is another's")
	}
	if k.beforeJoin.Load() == nil {
		t.Error("its port was opened")
	}
	r.agent.attacher.Undo(adds[0])
}
