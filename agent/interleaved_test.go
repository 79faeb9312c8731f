package agent

import (
	"errors"
	"sync/atomic"
	"testing"

	"github.com/berth-ipam/berth/agent/isolation"
	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/agent/node"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/netops"
)

// An interleaved kernel is the host's, at whose side something is done just before a port is opened, or when one was made, as
// another goroutine may.
type interleaved struct {
	node.Kernel
	beforeJoin  atomic.Pointer[func()]       // done once
	afterAttach atomic.Pointer[func() error] // done once
}

func (k *interleaved) Join(m netops.Member) error {
	if do := k.beforeJoin.Swap(nil); do != nil {
		(*do)()
	}
	return k.Kernel.Join(m)
}

func (k *interleaved) Attach(p netops.Port) (netops.Attached, error) {
	made, err := k.Kernel.Attach(p)
	if do := k.afterAttach.Swap(nil); do != nil && err == nil {
		err = (*do)()
	}
	return made, err
}

// An onTheWay ADD has its address and its interface, and waits in the kernel before its commit. Entry is what the journal has of
// its attachment then.
type onTheWay struct {
	*journal.Entry
	r     *rig
	c     wire.Container
	made  chan struct{}
	goes  chan error
	ended chan *wire.Response
}

// onTheWay begins an ADD, and holds it before its commit.
func (r *rig) onTheWay(c wire.Container) *onTheWay {
	r.t.Helper()
	w := &onTheWay{r: r, c: c, made: make(chan struct{}), goes: make(chan error), ended: make(chan *wire.Response, 1)}
	w.hold()
	go func() {
		response, _ := r.ask(wire.Insert, c)
		w.ended <- response
	}()
	w.await()
	return w
}

func (w *onTheWay) hold() {
	do := func() error { w.made <- struct{}{}; return <-w.goes }
	w.r.kernel.afterAttach.Store(&do)
}

func (w *onTheWay) await() {
	w.r.t.Helper()
	select {
	case <-w.made:
		w.Entry = w.r.agent.Journal.Get(attachmentOf(w.c))
	case response := <-w.ended:
		w.r.t.Fatalf("the ADD of %s has ended: %+v", w.c.ID, response)
	}
}

// anew has its commit refused, so that it begins anew, and holds it again before the next one. It fails where the ADD is answered.
func (w *onTheWay) anew() {
	w.r.t.Helper()
	w.hold()
	w.goes <- nil
	w.await()
}

// end lets it go on, after an error of the kernel if there is one, and returns what is answered.
func (w *onTheWay) end(err error) *wire.Response {
	w.goes <- err
	return <-w.ended
}

// undone ends it by an error of the kernel, after which nothing is left of it.
func (w *onTheWay) undone() {
	w.r.t.Helper()
	if response := w.end(errors.New("no more links")); response.Error == nil {
		w.r.t.Errorf("an ADD that the kernel refuses is answered: %+v", response)
	}
	w.r.empty()
}

func TestAnIsolationThatComesWhileAPortIsOpenedIsSeen(t *testing.T) {
	r := newRig(t)
	add := r.onTheWay(r.stateless("a", "web"))
	var isolated atomic.Bool
	isolate := func() {
		r.agent.isolator.Isolate(add.Attachment, isolation.LostFor(add.Entry, "its address is another's by now"))
		isolated.Store(r.agent.Journal.Isolation(add.Attachment) != nil)
	}
	r.kernel.beforeJoin.Store(&isolate)
	add.anew() // it is not answered with an address that is another's
	if !isolated.Load() {
		t.Fatal("it was not isolated while its port was opened")
	}
	if r.passes(add.Wiring.Port) {
		t.Error("it was isolated, and its port passes")
	}
	add.undone()
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
	add := r.onTheWay(r.stateless("b", "web"))
	r.agent.isolator.Isolate(add.Attachment, once())
	if r.passes(add.Wiring.Port) {
		t.Error("it passes before its ADD is answered")
	}
	if response := add.end(nil); response.Error != nil {
		t.Fatal(response.Error)
	}
	if !r.passes(add.Wiring.Port) {
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
	add := r.onTheWay(r.stateless("a", "web"))
	r.agent.isolator.Isolate(add.Attachment, isolation.LostFor(add.Entry, "its address is another's by now"))
	opened := func() {}
	r.kernel.beforeJoin.Store(&opened)
	add.anew() // it is not answered with an address that is another's
	if r.kernel.beforeJoin.Swap(nil) == nil {
		t.Error("its port was opened, though it was isolated before")
	}
	add.undone()
}
