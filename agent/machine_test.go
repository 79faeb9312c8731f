package agent

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/clock"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/rollout"
	"github.com/berth-ipam/berth/netops"
)

// gives gives this host an address, and takes it off when the test ends.
// machineHeld is the kind of the finding that an address of this machine is held by another.
const machineHeld = "machine-address-held"

func (r *rig) gives(address string) (takeOff func()) {
	r.t.Helper()
	link := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "own0"}}
	check(r.t, netlink.LinkAdd(link))
	r.t.Cleanup(func() { _ = netlink.LinkDel(link) })
	a, err := netlink.ParseAddr(address)
	check(r.t, err)
	check(r.t, netlink.AddrAdd(link, a))
	return func() { check(r.t, netlink.AddrDel(link, a)) }
}

// own reports whether etcd says that an address is a node's own.
func (r *rig) own(node, address string) func() bool {
	return func() bool {
		b := r.block()
		return slices.ContainsFunc(b.Machines(), func(p record.Part) bool {
			return p.Node == node && p.Prefix.Addr() == netip.MustParseAddr(address)
		})
	}
}

func (r *rig) finding(kind, subject string) (text string) {
	for _, f := range r.agent.Findings.List() {
		if f.Kind == kind && f.Subject == subject {
			text = f.Text
		}
	}
	return text
}

func TestTheHostsOwnAddressIsGivenToNobody(t *testing.T) {
	r := withTiny(t)
	takeOff := r.gives("10.7.0.5/32")
	r.until("etcd knows that it is the node's own", r.own("n1", "10.7.0.5"))
	var got []netip.Addr
	for i := range 12 { // all but the node's own
		got = append(got, r.add(r.tiny(string(rune('a'+i)))))
	}
	if slices.Contains(got, netip.MustParseAddr("10.7.0.5")) {
		t.Errorf("a container has got it: %v", got)
	}
	c := r.tiny("asks")
	c.Addresses = []string{"10.7.0.5"}
	if e := r.refused(wire.CodeConfig, c); !strings.Contains(e.Error(), "node n1 itself") {
		t.Errorf("the refusal is %v", e)
	}
	takeOff()
	r.until("it is given back", func() bool { return !r.own("n1", "10.7.0.5")() })
	c.ID = "later"
	if a := r.add(c); a != netip.MustParseAddr("10.7.0.5") {
		t.Errorf("what the node gave up cannot be had: %s", a)
	}
}

func TestAnAgentThatHasJustStartedGivesNoAddressOfItsHosts(t *testing.T) {
	r := withTiny(t)
	r.add(r.tiny("before")) // the block is this node's
	r.stop()
	r.gives("10.7.0.5/32")
	r.begin()
	var got []netip.Addr
	for i := range 11 { // all that are left, but the node's own
		got = append(got, r.add(r.tiny(string(rune('a'+i)))))
	}
	if slices.Contains(got, netip.MustParseAddr("10.7.0.5")) {
		t.Errorf("a container has got it: %v", got)
	}
	r.until("etcd knows that it is the node's own", r.own("n1", "10.7.0.5"))
}

// unlisted is a kernel that does not list addresses while it fails.
type unlisted struct {
	Kernel
	fails *atomic.Bool
	asked *atomic.Int32
}

func (k unlisted) HostAddresses() ([]netops.HostAddress, error) {
	if k.asked.Add(1); k.fails.Load() {
		return nil, errors.New("no addresses today")
	}
	return k.Kernel.HostAddresses()
}

func TestANodeJoinsOnlyWhenItKnowsItsHostsOwnAddresses(t *testing.T) {
	r := withTiny(t)
	r.stop()
	var fails atomic.Bool
	var asked atomic.Int32
	fails.Store(true)
	r.options = func(o *Options) {
		o.Kernel = func() (Kernel, error) { k, err := openKernel(); return unlisted{k, &fails, &asked}, err }
	}
	former, err := r.peer.Sessions.Node(t.Context(), "n1")
	check(t, err)
	r.begin()
	r.until("it has tried again", func() bool { return asked.Load() >= 2 })
	if reason := r.agent.WhyNotReady(); !strings.Contains(reason, "no addresses today") {
		t.Errorf("it is not ready because %q", reason)
	}
	if now, err := r.peer.Sessions.Node(t.Context(), "n1"); err != nil || !now.Started.Equal(former.Started) {
		t.Errorf("it has joined: %+v, %v", now, err)
	}
	fails.Store(false)
	r.until("it is ready", func() bool { return r.agent.reporter.NotReady() == nil })
	r.add(r.tiny("a"))
}

func TestAnAddressThatAContainerHasIsTheHostsOwnWhenTheContainerIsGone(t *testing.T) {
	r := withTiny(t)
	a := r.add(r.tiny("a"))
	r.gives(a.String() + "/32")
	r.until("it is told who has it", func() bool {
		text := r.finding(machineHeld, a.String())
		return strings.Contains(text, "own0") && strings.Contains(text, "/a/eth0 on this node") && strings.Contains(text, "n1")
	})
	if r.own("n1", a.String())() || r.isolations() > 0 {
		t.Fatal("it was taken from the container")
	}
	r.del(r.tiny("a"))
	r.until("it is the node's own", r.own("n1", a.String()))
	r.until("nothing is wrong any more", func() bool { return r.finding(machineHeld, a.String()) == "" })
}

func TestAnotherNodesPartGivesUpTheAddressThatThisHostHas(t *testing.T) {
	r, n2, claim := shared(t)
	b := claim()
	r.gives("10.7.0.5/32")
	d := r.demanded("n1")
	if !slices.Equal(d.Machine, []netip.Addr{netip.MustParseAddr("10.7.0.5")}) {
		t.Fatalf("the demand is %+v", d)
	}
	if text := r.finding(machineHeld, "10.7.0.5"); !strings.Contains(text, "n2") {
		t.Errorf("the finding is %q", text)
	}
	_, err := block.Transfer(t.Context(), n2, b, netip.MustParsePrefix("10.7.0.5/32"), d)
	check(t, err)
	r.until("nothing is wrong any more", func() bool { return r.finding(machineHeld, "10.7.0.5") == "" })
	r.undemanded()
	if !r.own("n1", "10.7.0.5")() {
		t.Errorf("the block is %+v", r.block())
	}
}

func TestTheAddressOfAnotherNodesHostIsGivenUpWhenItIsFreeHere(t *testing.T) {
	r, n2, _ := shared(t)
	a := r.add(r.tiny("a"))
	other := netip.MustParseAddr("10.7.0.9")
	if a == other {
		other = other.Next()
	}
	demand := func(addrs ...netip.Addr) {
		_, err := block.Demand(t.Context(), n2, record.Demand{Pool: "tiny", Machine: addrs})
		check(t, err)
	}
	demand(other, a)
	r.until("the free one is the other node's own", r.own("n2", other.String()))
	demand(a)
	r.del(r.tiny("a"))
	r.until("so is the other one, when its container is gone", r.own("n2", a.String()))
	r.agrees()
}

// rests reports whether an address of the pool tiny is this node's and given to nobody for now.
func (r *rig) rests(addr netip.Addr) (rests bool) {
	r.agent.addresses.Pools.With(tiny, func(s *allocator.Space) {
		_, err := s.AllocateAddress(addr)
		if rests = errors.Is(err, allocator.ErrQuarantined); err == nil {
			s.Undo(addr)
		}
	})
	return rests
}

func TestTheAddressOfAnotherNodesHostIsGivenUpThoughItRestsHere(t *testing.T) {
	r, n2, _ := shared(t)
	r.add(r.tiny("a"))
	own := netip.MustParseAddr("10.7.0.9")
	r.agent.addresses.Pools.With(tiny, func(s *allocator.Space) { s.Occupied(own, clock.Boottime(), time.Hour) }) // the wire shows it
	_, err := block.Demand(t.Context(), n2, record.Demand{Pool: "tiny", Addresses: []netip.Addr{own}})
	check(t, err)
	time.Sleep(100 * time.Millisecond)
	if b := r.block(); b.OwnerOf(own) != "n1" || !r.rests(own) {
		t.Fatalf("for a container elsewhere it is given up, too: %+v", b)
	}
	_, err = block.Demand(t.Context(), n2, record.Demand{Pool: "tiny", Machine: []netip.Addr{own}})
	check(t, err)
	r.until("it is the other node's own", r.own("n2", own.String()))
	r.agrees()
}

func TestTheAddressOfAnotherNodesHostThatComesBackFromATransferIsGivenToNoContainer(t *testing.T) {
	r, n2, _ := shared(t)
	r.add(r.tiny("a"))
	own := netip.MustParseAddr("10.7.0.9")
	o := r.agent.exchange.WithdrawAddress("tiny", own)
	for i := range 11 { // all others
		r.add(r.tiny(string(rune('b' + i))))
	}
	ended := r.waiting(r.tiny("waits"))
	_, err := block.Demand(t.Context(), n2, record.Demand{Pool: "tiny", Machine: []netip.Addr{own}})
	check(t, err)
	r.until("the agent hears of it", func() bool {
		return len(r.agent.addresses.OfMachines("tiny", netip.PrefixFrom(own, own.BitLen()))) > 0
	})
	r.agent.addresses.Resolved(o, o.Block)
	r.until("it is the other node's own", r.own("n2", own.String()))
	r.del(r.tiny("b"))
	if a := r.answered(ended); a == own {
		t.Errorf("a container has got it")
	}
	r.agrees()
}

func TestAnAddressThatIsAskedForIsHadFromWhateverNodeItsBlockBelongsTo(t *testing.T) {
	r, n2, claim := shared(t)
	b := claim()
	c := r.tiny("a")
	c.Addresses = []string{"10.7.0.5"}
	ended := make(chan *wire.Response, 1)
	go func() {
		response, _ := r.ask(wire.Insert, c)
		ended <- response
	}()
	d := r.demanded("n1")
	if !slices.Equal(d.Addresses, []netip.Addr{netip.MustParseAddr("10.7.0.5")}) || d.V4 > 0 {
		t.Fatalf("the demand is %+v", d)
	}
	_, err := block.Transfer(t.Context(), n2, b, netip.MustParsePrefix("10.7.0.5/32"), d)
	check(t, err)
	if a := r.answered(ended); a != netip.MustParseAddr("10.7.0.5") {
		t.Errorf("it got %s", a)
	}
	r.undemanded()
}

func TestWhoHasAnAddressThatIsAskedForElsewhereIsNamedAtOnce(t *testing.T) {
	r, n2, claim := shared(t)
	b := claim()
	held := record.Assignment{Pool: "tiny", Address: netip.MustParseAddr("10.7.0.5"), Node: "n2",
		Attachment: allocator.Attachment{Network: "berth", Container: "there", Interface: "eth0"}}
	check(t, rollout.Publish(t.Context(), n2, rollout.Batch{Blocks: []record.Block{b}, Set: []record.Assignment{held}}))
	c := r.tiny("a")
	c.Addresses = []string{"10.7.0.5"}
	if e := r.refused(wire.CodeTryAgain, c); !strings.Contains(e.Error(), "container berth/there/eth0 on node n2") {
		t.Errorf("the refusal is %v", e)
	}
}

func TestANodeGivesTheAddressThatAnotherOneAsksForIfItIsFreeHere(t *testing.T) {
	r, n2, _ := shared(t)
	a := r.add(r.tiny("a"))
	other := netip.MustParseAddr("10.7.0.9")
	if a == other {
		other = other.Next()
	}
	_, err := block.Demand(t.Context(), n2, record.Demand{Pool: "tiny", Addresses: []netip.Addr{a, other}})
	check(t, err)
	r.until("the other node has it", func() bool { b := r.block(); return b.OwnerOf(other) == "n2" })
	r.agrees()
	if b := r.block(); b.OwnerOf(a) != "n1" || r.isolations() > 0 {
		t.Errorf("what a container has was given away: %+v", b)
	}
}

// isolations are how many containers here are isolated.
func (r *rig) isolations() (n int) {
	for _, e := range r.agent.Journal.Entries() {
		if e.IsolatedWhy() != "" {
			n++
		}
	}
	return n
}

func TestWhoHasAnAddressOfThisHostOnAnotherNodeIsNamed(t *testing.T) {
	r, n2, claim := shared(t)
	held := record.Assignment{
		Pool: "tiny", Address: netip.MustParseAddr("10.7.0.5"), Node: "n2",
		Attachment: allocator.Attachment{Network: "berth", Container: "there", Interface: "eth0"},
	}
	check(t, rollout.Publish(t.Context(), n2, rollout.Batch{Blocks: []record.Block{claim()}, Set: []record.Assignment{held}}))
	r.gives("10.7.0.5/32")
	r.until("it is told who has it", func() bool {
		return strings.Contains(r.finding(machineHeld, "10.7.0.5"), "container berth/there/eth0 on node n2")
	})
}
