package watch

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/e2e/faults/check"
	"github.com/berth-ipam/berth/internal/sandbox"
)

func TestMain(m *testing.M) {
	if err := sandbox.Enter(); err != nil {
		fmt.Println("skipped, all of it:", err)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// A network is a bridge with a watcher, and machines that are plugged in by hand.
type network struct {
	t       *testing.T
	begin   time.Time
	watcher *Watcher

	mu      sync.Mutex
	history check.History
}

func newNetwork(t *testing.T) *network {
	t.Helper()
	return networkOf(t, Neighbours{})
}

func networkOf(t *testing.T, wire Wire, seat ...netip.Prefix) *network {
	t.Helper()
	n := &network{t: t, begin: time.Now()}
	n.must(netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br", Flags: net.FlagUp}}))
	t.Cleanup(func() { n.must(n.remove("br")) })
	path := filepath.Join(t.TempDir(), "watch")
	n.must(Plug("br", path, seat...))
	t.Cleanup(func() { n.must(errors.Join(n.remove("to-watch"), sandbox.Remove(path))) })
	var err error
	n.watcher, err = New(path, wire, n.clock, func(s check.Sighting) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.history.Sightings = append(n.history.Sightings, s)
	})
	n.must(err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.watcher.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return n
}

func port(number byte) string { return fmt.Sprintf("to%d", number) }

// remove removes a link now; a namespace would let go of it later. Absence is success.
func (n *network) remove(name string) error {
	link, err := netlink.LinkByName(name)
	if _, absent := errors.AsType[netlink.LinkNotFoundError](err); absent {
		return nil
	}
	if err != nil {
		return err
	}
	return netlink.LinkDel(link)
}

func (n *network) clock() time.Duration { return time.Since(n.begin) + 1 }

func (n *network) must(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatal(err)
	}
}

// A machine is a container by hand.
type machine struct {
	name string
	mac  check.MAC
	path string
}

// plug puts a machine with an address into the network, as an ADD that was answered.
func (n *network) plug(number byte, address netip.Addr) machine {
	n.t.Helper()
	m := machine{fmt.Sprintf("n%d-c", number), check.MAC{2, 0, 0, 0, 1, number}, filepath.Join(n.t.TempDir(), "c")}
	begin := n.clock()
	n.must(sandbox.Namespace(m.path))
	n.t.Cleanup(func() { n.must(errors.Join(n.remove(port(number)), sandbox.Remove(m.path))) })
	space, err := netns.GetFromPath(m.path)
	n.must(err)
	defer space.Close()
	br, err := netlink.LinkByName("br")
	n.must(err)
	n.must(netlink.LinkAdd(&netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: port(number), MasterIndex: br.Attrs().Index, Flags: net.FlagUp},
		PeerName:  "eth0", PeerNamespace: netlink.NsFd(space), PeerHardwareAddr: m.mac[:],
	}))
	inside, err := netlink.NewHandleAt(space, unix.NETLINK_ROUTE)
	n.must(err)
	defer inside.Close()
	eth0, err := inside.LinkByName("eth0")
	n.must(err)
	flags := 0x02 // IFA_F_NODAD: it does not ask whether another has it
	n.must(inside.AddrAdd(eth0, &netlink.Addr{Flags: flags,
		IPNet: &net.IPNet{IP: address.AsSlice(), Mask: net.CIDRMask(24, address.BitLen())}}))
	n.must(inside.LinkSetUp(eth0))
	n.enter(check.Operation{Verb: check.Add, Container: m.name, Node: m.name[:2], MAC: m.mac, Begin: begin, End: n.clock(),
		Outcome: check.OK, Addresses: []netip.Addr{address}})
	return m
}

// unplug takes a machine away, as a DEL.
func (n *network) unplug(number byte, m machine) {
	n.t.Helper()
	begin := n.clock()
	n.must(n.remove(port(number)))
	n.enter(check.Operation{Verb: check.Del, Container: m.name, Node: m.name[:2], MAC: m.mac, Begin: begin, End: n.clock(), Outcome: check.OK})
}

func (n *network) enter(o check.Operation) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.history.Operations = append(n.history.Operations, o)
}

// heard waits until a machine was heard so many times since now.
func (n *network) heard(m machine, times int) {
	n.t.Helper()
	since, deadline := n.clock(), time.Now().Add(time.Minute)
	for n.count(m, since) < times {
		if time.Now().After(deadline) {
			n.t.Fatalf("%s was heard %d times in 20 s: want %d", m.name, n.count(m, since), times)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (n *network) count(m machine, since time.Duration) (count int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range n.history.Sightings {
		if s.MAC == m.mac && s.Sent >= since {
			count++
		}
	}
	return count
}

// violations judges what was heard so far; what was heard since whole counts as the end.
func (n *network) violations(whole time.Duration) (rules []check.Rule) {
	n.t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.history.Whole, n.history.End = whole, n.clock()
	found, _ := check.All(&n.history, check.Rules{Strict: true, Session: 3 * time.Second, AddressLease: 6 * time.Second})
	for _, v := range found {
		n.t.Log(v)
		rules = append(rules, v.Rule)
	}
	return rules
}

var families = map[string]netip.Addr{"IPv4": netip.MustParseAddr("10.9.0.5"), "IPv6": netip.MustParseAddr("fd09::5")}

func TestTwoThatAnswerForOneAddressAreFound(t *testing.T) {
	for family, address := range families {
		t.Run(family, func(t *testing.T) {
			n := newNetwork(t)
			n.watcher.Watch(address)
			a := n.plug(1, address)
			n.heard(a, 3)
			b := n.plug(2, address)
			n.heard(b, 3)
			n.heard(a, 3)
			if found := n.violations(n.clock()); !slices.Contains(found, check.Unique) {
				t.Errorf("the checker finds %q: want %q", found, check.Unique)
			}
		})
	}
}

func TestOneAfterAnotherWithTheSameAddressIsClean(t *testing.T) {
	for family, address := range families {
		t.Run(family, func(t *testing.T) {
			n := newNetwork(t)
			n.watcher.Watch(address)
			for number := byte(1); number <= 5; number++ {
				m := n.plug(number, address)
				n.heard(m, 5)
				n.unplug(number, m)
			}
			last := n.plug(9, address)
			whole := n.clock()
			n.heard(last, 5)
			if found := n.violations(whole); len(found) > 0 {
				t.Errorf("the checker finds %q: want nothing", found)
			}
		})
	}
}

func TestAContainerWhoseInterfaceIsGoneIsLost(t *testing.T) {
	n := newNetwork(t)
	address := families["IPv4"]
	n.watcher.Watch(address)
	a := n.plug(1, address)
	n.heard(a, 3)
	n.must(n.remove(port(1)))
	time.Sleep(4 * round) // what was on its way has come
	whole := n.clock()
	time.Sleep(4 * round)
	if found := n.violations(whole); !slices.Equal(found, []check.Rule{check.NotLost}) {
		t.Errorf("the checker finds %q: want %q", found, check.NotLost)
	}
}

func TestAnAnswerIsLaidToTheRequestThatItAnswers(t *testing.T) {
	w := &Watcher{wire: Neighbours{}, clock: func() time.Duration { return time.Hour }, byName: map[netip.Addr]*target{}}
	a := families["IPv4"]
	x := w.watch(a)
	x.former[3], x.sent[3] = 100, 200
	reply := arpRequest(a, check.MAC{2, 0, 0, 0, 1, 1})
	copy(reply, sender3())
	reply[21] = 2
	copy(reply[28:], a.AsSlice())
	for at, want := range map[time.Duration]time.Duration{150: 100, 250: 200} {
		s, ok := w.sighting(reply, at)
		if !ok || s.Sent != want || s.Address != a {
			t.Errorf("an answer that came at %d is laid to %+v, %v: want the request at %d", at, s, ok, want)
		}
	}
	if _, ok := w.sighting(reply[:30], 250); ok {
		t.Error("half a frame is taken for an answer")
	}
}

func sender3() []byte { m := sender(3); return m[:] }

func TestAnAddressIsAskedForOfEverybodyAndOfItsHolderInTurns(t *testing.T) {
	one := target{holder: check.MAC{2, 0, 0, 0, 0, 1}}
	for n := range 4 {
		want := check.MAC{}
		if n%2 == 1 {
			want = one.holder
		}
		if to := one.whom(); to != want {
			t.Errorf("request %d goes to %v, want %v", n, to, want)
		}
	}
}

func TestTheGaugeTellsHowLongItsWorkTook(t *testing.T) {
	begin := time.Now()
	w := &Watcher{clock: func() time.Duration { return time.Since(begin) }}
	ctx, stop := context.WithCancel(context.Background())
	var gauging sync.WaitGroup
	gauging.Go(func() { w.gauge(ctx) })
	for len(w.Turns()) < 3 {
		time.Sleep(10 * time.Millisecond)
	}
	stop()
	gauging.Wait()
	last := time.Duration(0)
	for _, turn := range w.Turns() {
		if turn.Begin < last || turn.End-turn.Begin < turn.Work || turn.Work < gaugeWork {
			t.Errorf("a turn from %v to %v, after one until %v, is said to have worked for %v", turn.Begin, turn.End, last, turn.Work)
		}
		last = turn.End
	}
}
