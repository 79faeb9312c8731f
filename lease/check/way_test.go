package check

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/record"
)

func step(step, state string, more ...int) record.CheckStep {
	to := map[string]string{record.StepNode: "192.0.2.3", record.StepGateway: "169.254.1.1", record.StepOwn: "10.42.0.9"}[step]
	if to == "" {
		to = "10.42.0.3"
	}
	s := record.CheckStep{Step: step, To: netip.MustParseAddr(to), State: state, Full: 1500}
	for _, mtu := range more {
		s.MTU = mtu
	}
	return s
}

func TestTheFirstHopThatFailsIsNamed(t *testing.T) {
	const ok, lost, mtu = record.CheckOK, record.CheckLost, record.CheckMTU
	own, gateway, whole, node, container := record.StepOwn, record.StepGateway, record.StepWhole, record.StepNode, record.StepContainer
	for what, c := range map[string]struct {
		from, to, way []record.CheckStep
		want          []string
	}{
		"the container and its node": {
			[]record.CheckStep{step(own, ok), step(gateway, lost)}, nil,
			[]record.CheckStep{step(whole, lost), step(node, lost), step(container, lost)},
			[]string{"the container on n1 does not reach its gateway 169.254.1.1", "wrong on n1"}},
		"the nodes": {
			[]record.CheckStep{step(own, ok)}, []record.CheckStep{step(own, lost)},
			[]record.CheckStep{step(whole, lost), step(node, lost), step(container, lost)},
			[]string{"n1's host does not reach node n3 (192.0.2.3)", "network between the nodes"}},
		"the other node and its container": {
			[]record.CheckStep{step(own, ok)}, []record.CheckStep{step(own, lost)},
			[]record.CheckStep{step(whole, lost), step(node, ok), step(container, lost)},
			[]string{"node n3 does not reach its own container 10.42.0.9", "wrong on n3"}},
		"beyond the other node": {
			[]record.CheckStep{step(own, ok)}, []record.CheckStep{step(own, ok)},
			[]record.CheckStep{step(whole, lost), step(node, ok), step(container, lost)},
			[]string{"node n3 (192.0.2.3) answers n1's host, but its container 10.42.0.3 of pool default does not", "a route to 10.42.0.3"}},
		"the containers alone": {
			nil, nil, []record.CheckStep{step(whole, lost), step(node, ok), step(container, ok)},
			[]string{"n1's host reaches 10.42.0.3, and its container does not", "FORWARD"}},
		"the MTU between the nodes": {
			nil, nil, []record.CheckStep{step(whole, mtu, 1400), step(node, mtu, 1400), step(container, mtu, 1400)},
			[]string{"n1's host reaches node n3 (192.0.2.3) with 1400 bytes at most", "MTU of 1500", "an mtu of 1400"}},
		"the MTU beyond": {
			nil, nil, []record.CheckStep{step(whole, mtu, 1400), step(node, ok), step(container, ok)},
			[]string{"10.42.0.3 is reached with 1400 of 1500 bytes at most", "an mtu of 1400"}},
		"nothing passes, though the nodes carry less": {
			nil, nil, []record.CheckStep{step(whole, lost), step(node, mtu, 1400), step(container, lost)},
			[]string{"its container 10.42.0.3 of pool default does not"}},
		"no time": {
			nil, nil, []record.CheckStep{step(whole, record.CheckUnsent)}, []string{"not asked", "longer --timeout"}},
	} {
		address := []netip.Addr{netip.MustParseAddr("10.42.0.3")}
		w := way{pool: "default", family: allocator.V4, names: [2]string{"n1", "n3"}, steps: c.way,
			from: &record.CheckProbe{Mode: "routed", Addresses: address, Steps: c.from},
			to:   &record.CheckProbe{Mode: "routed", Addresses: address, Steps: c.to}}
		f := w.failure()
		if f == nil {
			t.Errorf("%s: no failure", what)
			continue
		}
		for _, words := range c.want {
			if text := f.Where + "; " + f.Advice; !strings.Contains(text, words) {
				t.Errorf("%s: %q does not say %q", what, text, words)
			}
		}
	}
}

func TestContainersOfFlatPoolsWithoutAnUplinkAreApartByDesign(t *testing.T) {
	with, without := record.CheckProbe{Mode: "flat", Uplink: "eth0"}, record.CheckProbe{Mode: "flat"}
	if with.Apart(with) != "" || with.Apart(without) == "" || without.Apart(with) == "" || without.Apart(without) == "" {
		t.Error("want that both have to have an uplink")
	}
	w := way{names: [2]string{"n1", "n2"}, from: &without, to: &with}
	if state := w.cell().State; state != StateApart {
		t.Errorf("the matrix shows %s", state)
	}
}

func TestContainersOfAnIsolatedPoolAreApartByDesign(t *testing.T) {
	for _, mode := range allocator.Modes() {
		isolated := record.CheckProbe{Mode: mode, Uplink: "eth0", Isolate: true}
		other := isolated
		other.Isolate = false // its node has not heard of it yet
		if isolated.Apart(isolated) == "" || isolated.Apart(other) == "" || other.Apart(isolated) == "" || other.Apart(other) != "" {
			t.Errorf("mode %s: want that either node's word is enough", mode)
		}
	}
}
