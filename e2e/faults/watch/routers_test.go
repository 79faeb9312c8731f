package watch

import (
	"net/netip"
	"os"
	"strconv"
	"testing"

	"github.com/berth-ipam/berth/e2e/faults/check"
	"github.com/berth-ipam/berth/internal/sandbox"
)

// Two nodes that route to each other are two machines here that have the address themselves: no hop lowers the TTL.
func marked(t *testing.T, m machine, mark int) {
	t.Helper()
	err := sandbox.Within(m.path, func() error {
		for _, setting := range []string{"ipv4/ip_default_ttl", "ipv6/conf/eth0/hop_limit"} {
			if err := os.WriteFile("/proc/sys/net/"+setting, []byte(strconv.Itoa(mark-1)), 0); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestEachNodesContainerIsHeardByItsOwnRouteAndToldByItsMark(t *testing.T) {
	for family, address := range families {
		t.Run(family, func(t *testing.T) {
			seat := []netip.Prefix{netip.MustParsePrefix("10.9.0.250/24"), netip.MustParsePrefix("fd09::fa/64")}
			mac := func(number byte) check.MAC { return check.MAC{2, 0, 0, 0, 1, number} } // as plug gives them
			whose := map[string]check.MAC{"n1/70": mac(1), "n2/80": mac(2)}
			r := &Routers{Seat: seat, Nodes: []Router{{"n1", mac(1)}, {"n2", mac(2)}}, Who: func(node string, mark byte) (check.MAC, bool) {
				m, is := whose[node+"/"+strconv.Itoa(int(mark))]
				return m, is
			}}
			n := networkOf(t, r, seat...)
			n.watcher.Watch(address)
			one := n.plug(1, address)
			marked(t, one, 70)
			n.heard(one, 3)
			other := n.plug(2, address)
			marked(t, other, 80)
			n.heard(other, 3)
			n.heard(one, 3)
			n.mu.Lock()
			defer n.mu.Unlock()
			for _, s := range n.history.Sightings {
				if via := map[check.MAC]string{one.mac: "n1", other.mac: "n2"}[s.MAC]; s.Via != via && s.MAC[0] != 0xff {
					t.Errorf("%x was heard by the route of %q, want %q", s.MAC, s.Via, via)
				}
			}
		})
	}
}

func TestWhatIsNoReplyToAnEchoRequestOfOursIsNoAnswer(t *testing.T) {
	n1 := check.MAC{2, 0, 0, 0, 1, 1}
	r := &Routers{Nodes: []Router{{"n1", n1}}, Seat: []netip.Prefix{netip.MustParsePrefix("10.9.0.250/24")},
		Who: func(string, byte) (check.MAC, bool) { return check.MAC{9}, true }}
	reply := r.echo(families["IPv4"], 3, 0)
	copy(reply, seat[:])
	copy(reply[6:], n1[:])
	reply[34] = echoReply
	if a, ok := r.answered(reply); !ok || a.slot != 3 || a.via != "n1" || a.by != (check.MAC{9}) {
		t.Fatalf("a reply is read as %+v, %v", a, ok)
	}
	for what, change := range map[string]func([]byte) []byte{
		"a request":          func(f []byte) []byte { f[34] = echoRequest; return f },
		"another's reply":    func(f []byte) []byte { f[38] = 1; return f },
		"of no slot":         func(f []byte) []byte { f[40] = slots; return f },
		"of no node":         func(f []byte) []byte { f[41] = 1; return f },
		"by nobody we know":  func(f []byte) []byte { f[11] = 7; return f },
		"to another machine": func(f []byte) []byte { f[0] = 7; return f },
		"half of it":         func(f []byte) []byte { return f[:39] },
		"nothing":            func(f []byte) []byte { return nil },
	} {
		if a, ok := r.answered(change(append([]byte{}, reply...))); ok {
			t.Errorf("%s is taken for the answer %+v", what, a)
		}
	}
}

func TestARequestToAContainerGoesToItsNodeAlone(t *testing.T) {
	c := check.MAC{9}
	r := &Routers{Nodes: []Router{{"n1", check.MAC{1}}, {"n2", check.MAC{2}}}, Seat: []netip.Prefix{netip.MustParsePrefix("fd09::fa/64")}}
	a := families["IPv6"]
	if all := r.requests(a, 1, check.MAC{}); len(all) != 2 {
		t.Errorf("everybody is asked by %d frames: want one for each node", len(all))
	}
	r.on = map[check.MAC]int{c: 1}
	if one := r.requests(a, 1, c); len(one) != 1 || check.MAC(one[0][:6]) != r.Nodes[1].MAC {
		t.Errorf("one is asked by %x: want one frame, to %x", one, r.Nodes[1].MAC)
	}
}
