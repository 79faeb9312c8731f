package e2e

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/berth-ipam/berth/e2e/lab"
	"github.com/berth-ipam/berth/e2e/lab/labtest"
)

const flatPoolOfBoth = `pools:
  - name: default
    cidrs: [10.42.0.0/16, "fd42::/64"]
    stateful: [10.42.0.0/20, "fd42::/112"]
    gateways: [10.42.0.1, "fd42::1"]
`

// A wiring is a way in which a pool connects containers.
type wiring struct {
	name, pool string
	gateways   []netip.Prefix // of the switch
	network    *lab.Network
	alone      bool // those of other nodes are not reached
	apart      int  // lab.Options.Apart
}

// wirings are those in which containers of all nodes reach each other.
var wirings = []wiring{
	{"flat with uplink", flatPoolOfBoth, []netip.Prefix{gateway, netip.MustParsePrefix("fd42::1/64")}, lab.Berth(), false, 0},
	{"routed", routedPool, nil, lab.Plain(), false, 0},
	{"vxlan", terrains[1].configuration(routedPool), nil, lab.Plain(), false, terrains[1].apart},
}

const (
	pingEvery = 10 * time.Millisecond
	settled   = 50 // answers in a row
	// tooLong is what no machine is slow enough for, and less than the time after which routes are compared with the kernel's anyway.
	tooLong = 20 * time.Second
)

// A member moves while a container of a third node pings it every 10 ms: how many are lost after its ADD was answered is printed. That is
// promised to be less than a second's. It fails only far beyond that, since a loaded machine loses some by itself.
func TestAMemberThatMovesIsReachedSoonAfterItsADDWhileOthersPingIt(t *testing.T) {
	for _, w := range wirings {
		t.Run(w.name, func(t *testing.T) {
			l := makeLab(t, lab.Options{Nodes: 3, IPv6: true, Gateways: w.gateways, Apart: w.apart}, w.pool)
			made := func(node *lab.Node, args ...string) *lab.Container {
				c := w.container(t, l, node, args...)
				add(t, c)
				return c
			}
			member := []string{"BERTH_CLASS", "stateful", "BERTH_NAMESPACE", "shop", "BERTH_APP", "db", "BERTH_MEMBER", "db-0"}
			watcher, former := made(l.Nodes[2]), made(l.Nodes[0], member...)
			streams := map[netip.Addr]*lab.Stream{}
			for _, a := range former.All {
				s, err := watcher.Stream(a, pingEvery)
				if err != nil {
					t.Fatal(err)
				}
				defer s.End()
				streams[a] = s
			}
			reached := func(since time.Time) {
				for a, s := range streams {
					labtest.Eventually(t, fmt.Sprintf("%v is reached", a), func() error { return s.Answered(since, settled) })
				}
			}
			reached(time.Now())
			worst := map[netip.Addr]outage{}
			for i := range 6 {
				del(t, former)
				former = made(l.Nodes[(i+1)%2], member...)
				answered := time.Now()
				reached(answered)
				for a, s := range streams {
					worst[a] = worst[a].or(lossOf(s.Since(answered)))
				}
			}
			for a, l := range worst {
				t.Logf("%s, %v: of 6 moves the worst lost %v", w.name, a, l)
				if l.until > tooLong+20*l.late {
					t.Errorf("%v was not reached for %v after its ADD", a, l.until)
				}
			}
		})
	}
}

// An outage is what was not answered after an ADD.
type outage struct {
	requests int
	until    time.Duration // of the last of them, since the first request
	late     time.Duration // by how much the machine sent a request too late at most
}

// lossOf counts until so many in a row are answered.
func lossOf(all []lab.Echo) (l outage) {
	for i, row := 0, 0; i < len(all) && row < settled; i++ {
		if row++; !all[i].Answered {
			l.requests, l.until, row = l.requests+1, all[i].Sent.Sub(all[0].Sent)+pingEvery, 0
		}
		if i > 0 {
			l.late = max(l.late, all[i].Sent.Sub(all[i-1].Sent)-pingEvery)
		}
	}
	return l
}

func (l outage) or(other outage) outage {
	if other.until > l.until || other.until == l.until && other.late > l.late {
		return other
	}
	return l
}

func (l outage) String() string {
	return fmt.Sprintf("%d requests in %v; the machine sent one %v too late", l.requests, l.until.Round(time.Millisecond),
		l.late.Round(time.Millisecond))
}
