package agent

import (
	"testing"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/clock"
	"github.com/berth-ipam/berth/internal/sandbox"
	"github.com/berth-ipam/berth/internal/wire"
)

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
	r.until("only one is left", func() bool { return len(r.agent.Journal.Entries()) == 1 })
	if again := r.add(stays); again != addr {
		t.Errorf("the one that stayed has %s, want %s", again, addr)
	}
	r.del(stays)
	r.empty()
}

func TestGarbageCollectionSparesTheValidTheYoungAndOtherNetworks(t *testing.T) {
	r := newRig(t)
	valid, invalid, other := r.stateless("valid", ""), r.stateless("invalid", ""), r.stateless("other", "")
	other.Network = "another"
	for _, c := range []wire.Container{valid, invalid, other} {
		r.add(c)
	}
	gc := &wire.Request{Operation: wire.GC, Network: "net", Started: int64(clock.Boottime()),
		Valid: []wire.Attachment{{Container: "valid", Interface: "eth0"}}}
	_, err := r.send(gc)
	check(t, err)
	if n := len(r.agent.Journal.Entries()); n != 3 {
		t.Fatalf("%d entries: a young container that lives was collected", n)
	}
	age(t, r, "invalid")
	_, err = r.send(gc)
	check(t, err)
	if r.agent.Journal.Get(allocator.Attachment{Network: "net", Container: "invalid", Interface: "eth0"}) != nil ||
		len(r.agent.Journal.Entries()) != 2 {
		t.Error("what is not valid was not collected, or more than that")
	}
}

// age makes an entry older than GC spares.
func age(t *testing.T, r *rig, id string) {
	t.Helper()
	old := *r.agent.Journal.Get(allocator.Attachment{Network: "net", Container: id, Interface: "eth0"})
	old.Answered -= 2 * time.Minute
	check(t, r.agent.Journal.Hold(&old))
}
