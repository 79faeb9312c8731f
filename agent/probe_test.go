package agent

import (
	"net"
	"net/netip"
	"testing"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// squatter puts somebody on the bridge who has an address that nobody gave: as the container of a node does that is cut
// off from etcd, and not from the network.
func (r *rig) squatter(addr string) {
	r.t.Helper()
	ns, err := netns.GetFromPath(r.space())
	check(r.t, err)
	defer ns.Close()
	bridge, err := netlink.LinkByName("berth0")
	check(r.t, err)
	pair := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: "squat", MasterIndex: bridge.Attrs().Index, Flags: net.FlagUp}, PeerName: "eth0",
		PeerNamespace: netlink.NsFd(ns),
	}
	check(r.t, netlink.LinkAdd(pair))
	r.t.Cleanup(func() { _ = netlink.LinkDel(pair) })
	inside, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	check(r.t, err)
	defer inside.Close()
	peer, err := inside.LinkByName("eth0")
	check(r.t, err)
	parsed, err := netlink.ParseAddr(addr)
	check(r.t, err)
	check(r.t, inside.AddrAdd(peer, parsed))
	check(r.t, inside.LinkSetUp(peer))
}

func TestAnAddressOfATakenBlockThatSomebodyStillHasIsNotGiven(t *testing.T) {
	r := newRig(t)
	r.oneBlock(r.neighbour("n2", 1e10, 1e11))
	r.add(r.stateless("first", "")) // the bridge is there
	r.squatter("10.43.0.1/26")
	_, err := r.etcdctl().Put(t.Context(), "/berth/v1/blocks/tiny/10.43.0.0",
		`{"prefix":"10.43.0.0/26","parts":[{"prefix":"10.43.0.0/26","owner":"n1","taken":true}]}`)
	check(t, err)
	r.regain()
	c := r.ofTiny("a")
	if got, want := r.add(c), netip.MustParseAddr("10.43.0.2"); got != want {
		t.Errorf("ADD gave %s: want %s, since somebody has 10.43.0.1 and nobody that", got, want)
	}
}

func flushTable(t *testing.T) {
	t.Helper()
	other := &nftables.Conn{}
	other.DelTable(&nftables.Table{Name: "berth", Family: nftables.TableFamilyBridge})
	check(t, other.Flush())
}

func TestATableThatWasFlushedWhileNoAgentRanComesBack(t *testing.T) {
	r := newRig(t)
	r.add(r.stateless("a", ""))
	r.stop()
	flushTable(t)
	r.start()
	if !r.passes(r.agent.Journal.Entries()[0].Wiring.Port) {
		t.Error("a container that has kept its address does not pass")
	}
}

func TestAFlushedTableComesBack(t *testing.T) {
	r := newRig(t)
	r.add(r.stateless("a", ""))
	before, err := r.agent.Kernel().Classes()
	check(t, err)
	flushTable(t)
	r.until("its ports are in their classes again", func() bool {
		now, err := r.agent.Kernel().Classes()
		return err == nil && len(now) == len(before)
	})
}
