package agent

import (
	"strings"
	"testing"

	"github.com/berth-ipam/berth/agent/attach"
	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/clock"
	"github.com/berth-ipam/berth/internal/sandbox"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/netops"
)

// since is a request that began at some time.
func since(began allocator.Instant, operation string, c wire.Container) *wire.Request {
	return &wire.Request{Operation: operation, Started: int64(began), Containers: wire.Containers{c}}
}

func TestADeleteThatBeganBeforeARepeatedAddSparesIt(t *testing.T) {
	r := newRig(t)
	for _, c := range []wire.Container{r.stateless("a", "web"), r.stateful("b", "db", "db-0")} {
		first := clock.Boottime()
		_, err := r.send(since(first, wire.Insert, c))
		check(t, err)
		late := clock.Boottime()
		_, err = r.send(since(clock.Boottime(), wire.Insert, c))
		check(t, err)
		_, err = r.send(since(late, wire.Delete, c))
		check(t, err)
		if r.agent.Journal.Get(attachmentOf(c)) == nil {
			t.Errorf("%s was deleted by a DEL of its former life", c.ID)
		}
		r.del(c)
	}
	r.empty()
}

func TestEvidenceFromBeforeARepeatedAddSparesIt(t *testing.T) {
	r := newRig(t)
	for _, role := range []string{wire.Interface, wire.IPAM} {
		c := r.stateless("a-"+role, "web")
		c.Role = role
		r.add(c)
		before := clock.Boottime()
		r.add(c)
		gone := func(string) attach.Evidence {
			return attach.Evidence{Name: "test", Taken: before, Gone: func(e *journal.Entry) bool { return true }}
		}
		check(t, r.agent.detacher.Collect(t.Context(), attachmentOf(c), gone("")))
		if r.agent.Journal.Get(attachmentOf(c)) == nil {
			t.Errorf("%s: it was collected by evidence of its former life", role)
		}
	}
}

func TestEvidenceIsLookedAtAgainUnderTheAttachmentsLock(t *testing.T) {
	r := newRig(t)
	c := r.stateless("a", "web")
	r.add(c)
	e := r.agent.Journal.Get(attachmentOf(c))
	// News of a port's end that is told only after the container has a new one.
	r.agent.detacher.Handle(t.Context(), netops.Event{Kind: netops.PortGone, Port: e.Wiring.Port})
	asked := 0
	gone := func(e *journal.Entry) bool { asked++; return !r.agent.Kernel().HasPort(e.Wiring.Port) }
	check(t, r.agent.detacher.Collect(t.Context(), e.Attachment, attach.Evidence{Name: "test", Taken: clock.Boottime(), Gone: gone}))
	if asked != 1 || r.agent.Journal.Get(e.Attachment) == nil {
		t.Errorf("asked %d times, and it was collected: %v", asked, r.agent.Journal.Get(e.Attachment) == nil)
	}
}

func TestANamespaceThatIsMadeAnewKeepsWhatItsRepeatedAddAnswered(t *testing.T) {
	r := newRig(t)
	for i := range 20 {
		c := r.stateless("a", "web")
		if i%2 == 1 {
			c.Role = wire.IPAM
		}
		addr := r.add(c)
		check(t, sandbox.Remove(c.Netns))
		check(t, sandbox.Namespace(c.Netns))
		again := r.add(c)
		if entry := r.agent.Journal.Get(attachmentOf(c)); entry == nil {
			t.Fatalf("round %d: what was answered is not held", i)
		}
		r.agent.detacher.Handle(t.Context(), netops.Event{Kind: netops.Overrun})
		r.until("no request is under way", func() bool { return r.agent.Locks.Count() == 0 })
		if e := r.agent.Journal.Get(attachmentOf(c)); e == nil || e.Addresses[0] != again {
			t.Fatalf("round %d: it had %s, was answered %s, and has nothing any more", i, addr, again)
		}
		if c.Role == wire.Interface {
			if _, err := r.ask(wire.Read, c); err != nil {
				t.Fatalf("round %d: CHECK: %v", i, err)
			}
		}
		r.del(c)
		check(t, sandbox.Remove(c.Netns))
	}
	r.empty()
}

func TestARepeatedAddAsksForTheSameRightSessionAndSettlingAsTheFirst(t *testing.T) {
	r := newRig(t)
	plain, member := r.stateless("a", "web"), r.stateful("b", "db", "db-0")
	r.add(plain)
	r.add(member)
	r.until("it is published", func() bool { return r.agent.backlog.Len() == 0 })
	add := r.onTheWay(member)
	r.regain()
	add.anew() // it does not commit by a session that is over
	if response := add.end(nil); response.Error != nil {
		t.Fatal(response.Error)
	}
	r.etcd.Stop() // else the next proof brings the right back
	r.agent.Rights.Limit(0, 0)
	for _, c := range []wire.Container{plain, member} {
		if _, err := r.ask(wire.Insert, c); err == nil {
			t.Errorf("%s is answered without a right", c.ID)
		}
	}
	r.stop()
	r.begin()
	for _, c := range []wire.Container{plain, member} {
		if _, err := r.ask(wire.Insert, c); err == nil || !strings.Contains(err.Error(), "allocates no address yet") {
			t.Errorf("before the node has settled, the repeated ADD of %s says %v", c.ID, err)
		}
		if _, err := r.ask(wire.Delete, c); err != nil {
			t.Errorf("before the node has settled, DEL of %s says %v", c.ID, err)
		}
	}
	r.startEtcd()
	r.empty()
}

func TestAnIsolationSurvivesTheAgentAndARecordThatCannotBeRead(t *testing.T) {
	r := newRig(t)
	c := r.stateful("a", "db", "db-0")
	addr := r.add(c)
	at := attachmentOf(c)
	port := r.agent.Journal.Get(at).Wiring.Port
	steal(t, r, "default", addr)
	r.until("it is isolated", func() bool { return r.agent.Journal.Isolation(at) != nil })
	r.stop()
	r.put("reservations/default/"+addr.String(), "{") // nothing tells any more whose the address is
	r.start()
	if r.passes(port) || r.agent.Journal.Isolation(at) == nil {
		t.Error("it passes, since it cannot be read who has its address")
	}
	_, err := r.ask(wire.Insert, c)
	if err == nil || r.passes(port) {
		t.Errorf("ADD again says %v, and it passes: %v", err, r.passes(port))
	}
	r.del(c)
}

func TestAPortThatIsFoundCutStaysSoUntilEtcdNamesIt(t *testing.T) {
	r := newRig(t)
	plain, member := r.stateless("a", "web"), r.stateful("b", "db", "db-0")
	_, reserved := r.add(plain), r.add(member)
	at := attachmentOf(member)
	port := r.agent.Journal.Get(at).Wiring.Port
	// The agent ends between a cut and the note of it.
	check(t, r.agent.Kernel().Leave(port))
	check(t, r.agent.Kernel().Leave(r.agent.Journal.Get(attachmentOf(plain)).Wiring.Port))
	r.stop()
	key := "reservations/default/" + reserved.String()
	got, err := r.etcdctl().Get(t.Context(), "/berth/v1/"+key)
	check(t, err)
	r.put(key, "{")
	r.start()
	if r.passes(port) || !r.found("container-cut") {
		t.Errorf("it passes: %v; told: %v", r.passes(port), r.found("container-cut"))
	}
	if e := r.agent.Journal.Get(attachmentOf(plain)); !r.passes(e.Wiring.Port) {
		t.Error("who etcd names does not pass")
	}
	r.put(key, string(got.Kvs[0].Value))
	r.until("it passes, since etcd names it", func() bool { return r.passes(port) && !r.found("container-cut") })
}

func TestAnIsolationEndsWhenEtcdNamesTheAttachmentAgain(t *testing.T) {
	r := newRig(t)
	c := r.stateful("a", "db", "db-0")
	addr := r.add(c)
	at := attachmentOf(c)
	key := "reservations/default/" + addr.String()
	got, err := r.etcdctl().Get(t.Context(), "/berth/v1/"+key)
	check(t, err)
	steal(t, r, "default", addr)
	r.until("it is isolated", func() bool { return r.agent.Journal.Isolation(at) != nil })
	r.put(key, string(got.Kvs[0].Value))
	r.regain()
	r.until("it passes", func() bool {
		e := r.agent.Journal.Get(at)
		return e.Isolated == nil && r.passes(e.Wiring.Port)
	})
	r.del(c)
	r.empty()
}

func TestAnAddThatGetsItsReservationBackEndsItsIsolation(t *testing.T) {
	r := newRig(t)
	c := r.stateful("a", "db", "db-0")
	addr := r.add(c)
	at := attachmentOf(c)
	steal(t, r, "default", addr) // on n2, which has no session and fences by evidence
	r.until("it is isolated", func() bool { return r.agent.Journal.Isolation(at) != nil })
	if again := r.add(c); again != addr {
		t.Errorf("it has %s, want %s", again, addr)
	}
	e := r.agent.Journal.Get(at)
	if e.Isolated != nil || !r.passes(e.Wiring.Port) {
		t.Errorf("it is isolated: %v, passes: %v", e.Isolated, r.passes(e.Wiring.Port))
	}
	r.del(c)
	r.empty()
}

// Its address is another's, and another address would change the interface of a container that runs, behind the back of all who
// go by the first answer.
func TestARepeatedAddOfAnIsolatedStatelessContainerIsRefusedUntilItIsDeleted(t *testing.T) {
	r := newRig(t)
	c := r.stateless("a", "web")
	had := r.add(c)
	at := r.agent.Journal.Entries()[0].Attachment
	r.agent.isolator.Isolate(at, func(*journal.Entry) *journal.Isolation {
		return &journal.Isolation{Epoch: journal.Never, Reason: "its block is another's"}
	})
	for _, word := range []string{"its block is another's", "delete it first"} {
		if e := r.refused(wire.CodeTryAgain, c); !strings.Contains(e.Error(), word) {
			t.Errorf("the refusal does not say %q: %v", word, e)
		}
	}
	if e := r.agent.Journal.Get(at); e == nil || e.Isolated == nil || e.Addresses[0] != had || r.passes(e.Wiring.Port) {
		t.Errorf("the refusal has changed it: %+v", e)
	}
	r.del(c)
	r.add(c)
	if e := r.agent.Journal.Get(at); e.Isolated != nil || !r.passes(e.Wiring.Port) {
		t.Errorf("deleted and added again it is %+v", e)
	}
}
