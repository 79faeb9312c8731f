package check

import (
	"fmt"
	"slices"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/record"
)

// A way is what is known of how a node's container reaches another's, or a node its own.
type way struct {
	pool     string
	family   allocator.Family
	names    [2]string // of the nodes
	from, to *record.CheckProbe
	steps    []record.CheckStep
}

func (w way) within() bool { return w.names[0] == w.names[1] }

// cell is what a matrix shows of the way.
func (w way) cell() Cell {
	c := Cell{Node: w.names[1], State: StateUnknown}
	if w.from == nil || w.to == nil {
		return c
	}
	if w.within() {
		c.State = record.CheckOK
		for _, s := range w.own(w.from) {
			if s.State != record.CheckOK {
				c.State, c.MTU = s.State, s.MTU
				break
			}
		}
		return c
	}
	if w.from.Apart(*w.to) != "" {
		c.State = StateApart
		return c
	}
	if whole := find(w.steps, record.StepWhole); whole != nil {
		c.State, c.MTU = whole.State, whole.MTU
	}
	return c
}

// own are the steps between a container and its own node.
func (w way) own(p *record.CheckProbe) (all []record.CheckStep) {
	for _, s := range p.Steps {
		if allocator.FamilyOf(s.To) == w.family {
			all = append(all, s)
		}
	}
	return all
}

func find(steps []record.CheckStep, step string) *record.CheckStep {
	if i := slices.IndexFunc(steps, func(s record.CheckStep) bool { return s.Step == step }); i >= 0 {
		return &steps[i]
	}
	return nil
}

// failure says where the way fails; nil: it does not.
func (w way) failure() *Failure {
	if w.cell().State == record.CheckOK {
		return nil
	}
	f := &Failure{Pool: w.pool, Family: w.family.String(), From: w.names[0], To: w.names[1]}
	if w.within() {
		f.To = ""
		f.Where, f.Advice = w.atHome(w.names[0], w.from)
		return f
	}
	whole := find(w.steps, record.StepWhole)
	if whole.State == record.CheckUnsent {
		f.Where, f.Advice = "it was not asked before the time was over", "give a longer --timeout, or fewer nodes"
		return f
	}
	for _, hop := range []func(*record.CheckStep) (string, string){w.atFrom, w.atNode, w.atTo, w.atContainer} {
		if f.Where, f.Advice = hop(whole); f.Where != "" {
			return f
		}
	}
	f.Where, f.Advice = w.beyond(whole)
	return f
}

// fails reports whether a step explains that the whole way fails: none passes, or no more than over the whole.
func fails(s, whole *record.CheckStep) bool {
	return s != nil && (s.State == record.CheckLost || s.State == record.CheckMTU && (whole == nil || whole.State == record.CheckMTU))
}

// atHome is what fails between a node and its own container.
func (w way) atHome(node string, p *record.CheckProbe) (where, advice string) {
	for _, s := range w.own(p) {
		if s.State == record.CheckOK {
			continue
		}
		ends := fmt.Sprintf("node %s does not reach its own container %s", node, s.To)
		if s.Step == record.StepGateway {
			ends = fmt.Sprintf("the container on %s does not reach its gateway %s, which is that node", node, s.To)
		}
		if s.State == record.CheckMTU {
			ends = fmt.Sprintf("%s with more than %d of %d bytes", ends, s.MTU, s.Full)
		}
		return ends + because(s), fmt.Sprintf("see berthctl status and berthctl doctor for what is wrong on %s, and its firewall", node)
	}
	return "", ""
}

func (w way) atFrom(whole *record.CheckStep) (where, advice string) {
	return w.homeThatFails(w.names[0], w.from, whole)
}

func (w way) atTo(whole *record.CheckStep) (where, advice string) {
	return w.homeThatFails(w.names[1], w.to, whole)
}

func (w way) homeThatFails(node string, p *record.CheckProbe, whole *record.CheckStep) (where, advice string) {
	own := w.own(p)
	if slices.ContainsFunc(own, func(s record.CheckStep) bool { return fails(&s, whole) }) {
		return w.atHome(node, p)
	}
	return "", ""
}

// atNode is about the way between the nodes themselves.
func (w way) atNode(whole *record.CheckStep) (where, advice string) {
	s := find(w.steps, record.StepNode)
	switch {
	case !fails(s, whole):
		return "", ""
	case s.State == record.CheckMTU:
		return fmt.Sprintf("between the nodes: %s's host reaches node %s (%s) with %d bytes at most, and the containers have an MTU of %d%s",
				w.names[0], w.names[1], s.To, s.MTU, s.Full, because(*s)), fmt.Sprintf("give pool %s an mtu of %d, or let the network between the "+
				"nodes carry more", w.pool, s.MTU)
	}
	return fmt.Sprintf("between the nodes: %s's host does not reach node %s (%s)%s", w.names[0], w.names[1], s.To, because(*s)),
		"see the network between the nodes and their firewalls; in a routed pool also whether --node-address is right (docs/routed.md)"
}

// atContainer is about the way from a node to another's container.
func (w way) atContainer(whole *record.CheckStep) (where, advice string) {
	s, node := find(w.steps, record.StepContainer), find(w.steps, record.StepNode)
	if !fails(s, whole) {
		return "", ""
	}
	answers := fmt.Sprintf("%s's host asks node %s: ", w.names[0], w.names[1])
	if node != nil && node.State == record.CheckOK {
		answers = fmt.Sprintf("node %s (%s) answers %s's host, but ", w.names[1], node.To, w.names[0])
	}
	if s.State == record.CheckMTU {
		return fmt.Sprintf("%sits container %s of pool %s answers %d of %d bytes at most%s", answers, s.To, w.pool, s.MTU, s.Full,
			because(*s)), fmt.Sprintf("give pool %s an mtu of %d, or find what lies between", w.pool, s.MTU)
	}
	advice = fmt.Sprintf("is there a route to %s on %s (ip route get %s), and does %s let it pass? See berthctl status", s.To, w.names[0],
		s.To, w.names[1])
	if w.from.Uplink != "" {
		advice = fmt.Sprintf("are the uplinks %s of %s and %s of %s in one layer-2 network that lets several MACs a port speak? "+
			"See docs/uplink.md", w.from.Uplink, w.names[0], w.to.Uplink, w.names[1])
	}
	return fmt.Sprintf("%sits container %s of pool %s does not answer%s", answers, s.To, w.pool, because(*s)), advice
}

// beyond is what is left where all parts of the way pass.
func (w way) beyond(whole *record.CheckStep) (where, advice string) {
	if whole.State == record.CheckMTU {
		return fmt.Sprintf("from container to container: %s is reached with %d of %d bytes at most, while the hosts reach it with all%s",
				whole.To, whole.MTU, whole.Full, because(*whole)),
			fmt.Sprintf("give pool %s an mtu of %d, or find what lies between", w.pool, whole.MTU)
	}
	return fmt.Sprintf("from container to container: %s's host reaches %s, and its container does not%s", w.names[0], whole.To,
			because(*whole)), fmt.Sprintf("see what %s and %s forward (the FORWARD chain of iptables, nftables), and whether there is a way "+
			"back from %s to the pool", w.names[0], w.names[1], w.names[1])
}

// because is what the kernel, or somebody on the way, said of a step.
func because(s record.CheckStep) string {
	if s.Reason == "" {
		return ""
	}
	return " (" + s.Reason + ")"
}
