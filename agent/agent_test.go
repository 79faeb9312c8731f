package agent

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/sandbox"
	"github.com/berth-ipam/berth/internal/wire"
)

func TestAddAgainGivesTheSameAndDeleteTwiceSucceeds(t *testing.T) {
	r := newRig(t)
	for _, c := range []wire.Container{r.stateless("a", ""), r.stateful("b", "db", "db-0")} {
		first := r.add(c)
		if again := r.add(c); again != first {
			t.Errorf("%s: %s, and again %s", c.ID, first, again)
		}
		r.del(c)
		r.del(c)
	}
	r.empty()
}

func TestWhatWasAnsweredIsInEtcdForPeopleToRead(t *testing.T) {
	r := newRig(t)
	c := r.stateless("a", "web")
	addr := r.add(c)
	r.until("it is assigned", func() bool { return r.assigned(addr) != nil })
	if s := r.assigned(addr); s.Attachment.Container != "a" || s.App.String() != "ns/web" || s.Node != "n1" {
		t.Errorf("assignment %+v", s)
	}
	r.del(c)
	r.empty()
}

func TestAReleasedAddressGoesBackToItsAppAlsoAfterARestart(t *testing.T) {
	r := newRig(t)
	c := r.stateless("a", "web")
	addr := r.add(c)
	r.del(c)
	if other := r.add(r.stateless("b", "other")); other == addr {
		t.Errorf("another app got %s at once", addr)
	}
	r.restart()
	if again := r.add(r.stateless("c", "web")); again != addr {
		t.Errorf("the app's replacement got %s, want %s again", again, addr)
	}
}

func TestAStatefulMemberKeepsItsAddressAndAHeldOneIsRefusedByName(t *testing.T) {
	r := newRig(t)
	first := r.stateful("a", "db", "db-0")
	addr := r.add(first)
	refusal := r.refused(wire.CodeTryAgain, r.stateful("b", "db", "db-0"))
	if !strings.Contains(refusal.Message, "container a on node n1") {
		t.Errorf("the refusal %q does not name the holder", refusal.Message)
	}
	r.del(first)
	r.restart()
	second := r.stateful("c", "db", "db-0")
	if again := r.add(second); again != addr {
		t.Errorf("the member got %s, want %s again", again, addr)
	}
	r.del(second)
	r.empty()
}

func TestADeleteOlderThanTheAddChangesNothing(t *testing.T) {
	r := newRig(t)
	before := int64(wire.Boottime())
	c := r.stateless("a", "")
	r.add(c)
	_, err := r.send(&wire.Request{Operation: wire.Delete, Started: before, Containers: []wire.Container{c}})
	check(t, err)
	if len(r.agent.journal.Entries()) != 1 {
		t.Error("a DEL of the container's former life has ended its present one")
	}
}

func TestAnAddOlderThanADeleteIsRefused(t *testing.T) {
	r := newRig(t)
	before := int64(wire.Boottime())
	c := r.stateless("a", "")
	r.del(c)
	if _, err := r.send(&wire.Request{Operation: wire.Insert, Started: before, Containers: []wire.Container{c}}); err == nil || wire.AsError(err).Code != wire.CodeTryAgain {
		t.Errorf("error %v, want code %d", err, wire.CodeTryAgain)
	}
	r.empty()
}

func TestASetIsInsertedAsAWholeOrNotAtAll(t *testing.T) {
	r := newRig(t)
	r.add(r.stateless("warm", "")) // so that bridge and block are there
	good := []wire.Container{r.stateless("a", "web"), r.stateful("b", "db", "db-0"), r.stateless("c", "")}
	foreign := r.stateful("d", "db", "db-1")
	foreign.Interface = "lo"
	r.refused(wire.CodeConfig, append(good, foreign)...)
	twice := append(good, good[0])
	r.refused(wire.CodeOperation, twice...)
	r.refused(wire.CodeOperation)
	bad := r.stateless("e", "")
	bad.Pool = "nowhere"
	if e := r.refused(wire.CodeConfig, append(good, bad)...); !strings.Contains(e.Message, "default") {
		t.Errorf("the refusal %q does not say which pools there are", e.Message)
	}
	response, err := r.ask(wire.Insert, good...)
	check(t, err)
	if len(response.Results) != 3 {
		t.Errorf("%d results", len(response.Results))
	}
}

func TestBadInputIsRefusedAndLeavesNothing(t *testing.T) {
	r := newRig(t)
	r.add(r.stateless("warm", ""))
	change := func(f func(*wire.Container)) wire.Container {
		c := r.stateless("x", "")
		f(&c)
		return c
	}
	plain := filepath.Join(r.dir, "plain")
	check(t, os.WriteFile(plain, nil, 0o600))
	for what, c := range map[string]struct {
		code int
		c    wire.Container
	}{
		"a slash in the ID":         {wire.CodeEnvironment, change(func(c *wire.Container) { c.ID = "a/b" })},
		"a control character":       {wire.CodeConfig, change(func(c *wire.Container) { c.Namespace, c.App = "ns", "a\x01" })},
		"a class of no kind":        {wire.CodeConfig, change(func(c *wire.Container) { c.Class = "sticky" })},
		"stateful without a member": {wire.CodeConfig, change(func(c *wire.Container) { c.Class, c.Namespace, c.App = "stateful", "ns", "db" })},
		"no namespace":              {wire.CodeConfig, change(func(c *wire.Container) { c.Netns = "" })},
		"a file for a namespace":    {wire.CodeNetns, change(func(c *wire.Container) { c.Netns = plain })},
		"an address outside":        {wire.CodeConfig, change(func(c *wire.Container) { c.Addresses = []string{"192.0.2.1"} })},
		"a stateful address":        {wire.CodeConfig, change(func(c *wire.Container) { c.Addresses = []string{"10.42.0.9"} })},
		"masquerade with an uplink": {wire.CodeConfig, change(func(c *wire.Container) { c.IPMasq, c.Uplink = true, "eth9" })},
		"an uplink that is not":     {wire.CodeIO, change(func(c *wire.Container) { c.Uplink, c.Bridge = "eth9", "berth9" })},
	} {
		t.Run(what, func(t *testing.T) { r.refused(c.code, c.c) })
	}
}

func TestAContainerThatIsGoneWithoutADeleteGivesItsAddressBack(t *testing.T) {
	r := newRig(t)
	for _, role := range []string{wire.Interface, wire.IPAM} {
		c := r.stateless("gone-"+role, "web")
		c.Role = role
		stateful := r.stateful("gone-db-"+role, "db", "db-0")
		stateful.Role = role
		r.add(c)
		r.add(stateful)
		check(t, sandbox.Remove(c.Netns))
		check(t, sandbox.Remove(stateful.Netns))
		r.empty()
	}
}

func TestAContainerThatWentWhileNoAgentRanGivesItsAddressBack(t *testing.T) {
	r := newRig(t)
	var set []wire.Container
	for _, role := range []string{wire.Interface, wire.IPAM} {
		c := r.stateless("gone-"+role, "web")
		c.Role = role
		r.add(c)
		set = append(set, c)
	}
	stays := r.stateless("stays", "web")
	addr := r.add(stays)
	r.stop()
	for _, c := range set {
		check(t, sandbox.Remove(c.Netns))
	}
	r.start()
	r.until("only one is left", func() bool { return len(r.agent.journal.Entries()) == 1 })
	if again := r.add(stays); again != addr {
		t.Errorf("the one that stayed has %s, want %s", again, addr)
	}
	r.del(stays)
	r.empty()
}

func TestANoteInTheSpoolIsDoneBeforeAnythingIsHandedOut(t *testing.T) {
	r := newRig(t)
	c := r.stateful("a", "db", "db-0")
	r.add(c)
	r.stop()
	check(t, wire.WriteNote(r.agent.spool(), wire.Note{Started: int64(wire.Boottime()), Container: c}))
	r.start()
	r.empty()
	left, err := os.ReadDir(r.agent.spool())
	check(t, err)
	if len(left) != 0 {
		t.Errorf("the spool still has %v", left)
	}
}

func TestAnAddThatWasNeverAnsweredIsUndoneAtStart(t *testing.T) {
	r := newRig(t)
	c := r.stateless("a", "web")
	r.add(c)
	at := allocator.Attachment{Network: "net", Container: "a", Interface: "eth0"}
	unanswered := *r.agent.journal.Get(at)
	unanswered.Answered = 0
	check(t, r.agent.journal.Hold(&unanswered))
	r.restart()
	r.empty()
}

func TestWhoseReservationMovedOnIsIsolated(t *testing.T) {
	r := newRig(t)
	c := r.stateful("a", "db", "db-0")
	addr := r.add(c)
	elsewhere, err := r.store.Reservation(t.Context(), "default", addr)
	check(t, err)
	steal(t, r, elsewhere.Pool, addr)
	port := r.agent.journal.Entries()[0].Wiring.Port
	r.until("it is isolated", func() bool { return !r.passes(port) })
	if _, err := r.ask(wire.Read, c); err == nil || !strings.Contains(err.Error(), "isolated") {
		t.Errorf("CHECK says %v", err)
	}
	r.restart()
	if r.passes(port) || r.agent.isolated.count() != 1 {
		t.Error("after a restart the port passes again")
	}
	r.del(c)
	moved, err := r.store.Reservation(t.Context(), "default", addr)
	check(t, err)
	if moved.Holder == nil || moved.Holder.Node != "n2" {
		t.Errorf("the DEL has detached the new holder: %+v", moved)
	}
}

func TestWithoutEtcdStatelessAddAndDeleteGoOn(t *testing.T) {
	r := newRig(t)
	kept := r.stateless("kept", "web")
	goes, member := r.stateless("goes", "web"), r.stateful("member", "db", "db-0")
	r.add(goes)
	r.add(member)
	r.etcd.Stop()
	addr := r.add(kept)
	r.del(goes)
	r.del(member)
	r.startEtcd()
	r.until("etcd shows what happened", func() bool { return r.assigned(addr) != nil && len(r.agent.journal.Pending()) == 0 })
	r.del(kept)
	r.empty()
}

func TestAnAgentThatLostItsJournalTakesInWhatTheKernelKnows(t *testing.T) {
	r := newRig(t)
	a, b := r.stateless("a", "web"), r.stateful("b", "db", "db-0")
	addrA, addrB := r.add(a), r.add(b)
	r.stop()
	check(t, os.Remove(r.agent.Options.journal()))
	r.start()
	if x, y := r.add(a), r.add(b); x != addrA || y != addrB {
		t.Errorf("after the loss %s and %s, before %s and %s", x, y, addrA, addrB)
	}
	for _, id := range []string{"c", "d"} {
		if fresh := r.add(r.stateless(id, "")); fresh == addrA || sameBlock(fresh, addrA) {
			t.Errorf("%s was handed out from the block of the lost journal", fresh)
		}
		r.regain() // which changes nothing in that
	}
}

func TestGarbageCollectionSparesTheValidTheYoungAndOtherNetworks(t *testing.T) {
	r := newRig(t)
	valid, invalid, other := r.stateless("valid", ""), r.stateless("invalid", ""), r.stateless("other", "")
	other.Network = "another"
	for _, c := range []wire.Container{valid, invalid, other} {
		r.add(c)
	}
	gc := &wire.Request{Operation: wire.GC, Network: "net", Started: int64(wire.Boottime()), Valid: []wire.Attachment{{Container: "valid", Interface: "eth0"}}}
	_, err := r.send(gc)
	check(t, err)
	if n := len(r.agent.journal.Entries()); n != 3 {
		t.Fatalf("%d entries: a young container that lives was collected", n)
	}
	age(t, r, "invalid")
	_, err = r.send(gc)
	check(t, err)
	if r.agent.journal.Get(allocator.Attachment{Network: "net", Container: "invalid", Interface: "eth0"}) != nil || len(r.agent.journal.Entries()) != 2 {
		t.Error("what is not valid was not collected, or more than that")
	}
}

func TestMetricsAndReadinessAreServed(t *testing.T) {
	r := newRig(t)
	r.add(r.stateless("a", ""))
	for _, series := range []string{
		`berth_attachments{class="stateless"} 1`, `berth_requests_total{result="ok",verb="insert"} 1`, `berth_isolated_containers 0`,
	} {
		r.until("/metrics has "+series, func() bool { // a request is counted after its answer
			code, body := get(t, "http://"+r.agent.httpAddress.Load().(string)+"/metrics")
			return code == 200 && strings.Contains(body, series)
		})
	}
	if code, body := get(t, "http://"+r.agent.httpAddress.Load().(string)+"/readyz"); code != 200 {
		t.Errorf("readyz: %d %s", code, body)
	}
}

// age makes an entry older than GC spares.
func age(t *testing.T, r *rig, id string) {
	t.Helper()
	old := *r.agent.journal.Get(allocator.Attachment{Network: "net", Container: id, Interface: "eth0"})
	old.Answered -= 2 * young
	check(t, r.agent.journal.Hold(&old))
}

func sameBlock(a, b netip.Addr) bool {
	p, _ := a.Prefix(allocator.DefaultBlockV4)
	return p.Contains(b)
}

func TestAnAddressThatStillRestsIsWaitedFor(t *testing.T) {
	r := newRig(t)
	small := allocator.Pool{Name: "small", CIDRs: prefixes("10.43.0.0/30"), BlockSize: allocator.BlockSize{V4: 30}}
	r.apply(small)
	r.until("the agent has the pool", func() bool { _, _, err := r.agent.pool("small"); return err == nil })
	plain := func(id string, asked ...string) wire.Container {
		c := r.stateless(id, "")
		c.Role, c.Pool, c.Addresses = wire.IPAM, "small", asked
		return c
	}
	first, second := plain("a"), plain("b")
	addr := r.add(first)
	other := r.add(second)
	r.refused(wire.CodeTryAgain, plain("c")) // nothing rests: no wait
	r.del(first)
	if c := r.agent.pools.counts(spaceKey{"small", allocator.V4}); c.Quarantined != 1 {
		t.Errorf("after a DEL in the IPAM role %+v: want one that rests", c)
	}
	if got := r.add(plain("d")); got != addr {
		t.Errorf("got %s, want the one that rested, %s", got, addr)
	}
	r.del(second)
	if got := r.add(plain("e", other.String())); got != other {
		t.Errorf("asked for %s by name, got %s", other, got)
	}
}
