package record

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/kv"
)

// A Check is what an operator's tool has several agents do together: each makes a container of its own in each pool, and asks the
// others' for echoes. It is written twice: without Peers, upon which the agents make their containers, and with them, upon which
// those in From ask. With its lease it ends, and the containers with it.
type Check struct {
	ID    string    `json:"id"`  // distinguishes two checks
	Who   string    `json:"who"` // as the asker says
	Asked time.Time `json:"asked"`

	Nodes []string           `json:"nodes"` // that take part
	From  []string           `json:"from"`  // those of them that ask the others
	Pools []string           `json:"pools"`
	Flat  CheckNetwork       `json:"flat,omitzero"` // for a flat pool of which a node has no container
	Keep  allocator.Duration `json:"keep"`          // how long an agent keeps its containers at most
	Ask   allocator.Duration `json:"ask"`           // how long it may take to ask

	Peers []CheckPeer `json:"peers,omitempty"`

	Lease int64 `json:"-"` // etcd's, which ends the check and its answers
}

// A CheckNetwork is what a network says of the node that its containers are on.
type CheckNetwork struct {
	Bridge string `json:"bridge,omitempty"`
	Uplink string `json:"uplink,omitempty"`
	IPMasq bool   `json:"ipMasq,omitempty"`
}

// A CheckPeer is a node that has made its containers.
type CheckPeer struct {
	Node   string       `json:"node"`
	Hops   []netip.Addr `json:"hops,omitempty"` // the node's own addresses: at most one of each family
	Probes []CheckProbe `json:"probes"`
}

// A CheckProbe is the container that a node has made in a pool.
type CheckProbe struct {
	Pool      string       `json:"pool"`
	Mode      string       `json:"mode,omitempty"`
	Uplink    string       `json:"uplink,omitempty"`  // of its bridge
	Isolate   bool         `json:"isolate,omitempty"` // the pool keeps its containers from each other
	Addresses []netip.Addr `json:"addresses,omitempty"`
	MTU       int          `json:"mtu,omitempty"`   // of its interface, in bytes
	Error     string       `json:"error,omitempty"` // why there is none
	Steps     []CheckStep  `json:"steps,omitempty"` // whether it and its own node reach each other
}

// Apart says why containers do not reach each other by design; empty: they are to.
func (p CheckProbe) Apart(other CheckProbe) string {
	if p.Isolate || other.Isolate {
		return "isolate: true of the pool"
	}
	if p.Mode == allocator.Flat.String() && (p.Uplink == "" || other.Uplink == "") {
		return "mode flat without an uplink"
	}
	return ""
}

// What can become of an echo.
const (
	CheckOK     = "ok"
	CheckMTU    = "mtu"    // only a smaller one came back than was to
	CheckLost   = "lost"   // none came back
	CheckUnsent = "unsent" // the time was over before
)

// The steps on the way from one container to another.
const (
	StepGateway   = "gateway"   // from a container to its own node
	StepOwn       = "own"       // from a node to its own container
	StepNode      = "node"      // from a node to another one
	StepContainer = "container" // from a node to a container of another one
	StepWhole     = "whole"     // from a container to a container
)

// A CheckStep is what became of echoes over a part of the way.
type CheckStep struct {
	Step   string     `json:"step"`
	To     netip.Addr `json:"to"`
	State  string     `json:"state"`
	MTU    int        `json:"mtu,omitempty"`    // state mtu: the largest packet that passed, in bytes
	Full   int        `json:"full,omitempty"`   // the largest that was to pass
	Reason string     `json:"reason,omitempty"` // what the kernel or somebody on the way said of it
}

// A CheckResult is what became of the way from one container to another's address. Where the whole way failed, its parts follow.
type CheckResult struct {
	Pool  string      `json:"pool"`
	Node  string      `json:"node"` // the other one
	Steps []CheckStep `json:"steps"`
}

// A CheckAnswer is what a node has done for a check so far.
type CheckAnswer struct {
	Node       string        `json:"node,omitempty"` // in the key
	ID         string        `json:"id"`             // the check's
	Generation int64         `json:"generation"`     // of the session that it was written under
	Version    string        `json:"version,omitempty"`
	Probes     []CheckProbe  `json:"probes,omitempty"`
	Asked      bool          `json:"asked,omitempty"` // it has asked all that it could
	Results    []CheckResult `json:"results,omitempty"`
}

func validCheck(c *Check, key kv.Key, _ int64) error {
	if key.Node != "" {
		return errors.New("its key is an answer's")
	}
	for _, names := range [][]string{c.Nodes, c.From} {
		for _, name := range names {
			if err := allocator.ValidName("node", name); err != nil {
				return err
			}
		}
	}
	for _, name := range c.Pools {
		if err := allocator.ValidName("pool", name); err != nil {
			return err
		}
	}
	if err := allocator.ValidName("id", c.ID); err != nil {
		return err
	}
	if c.Keep < 0 || c.Ask < 0 {
		return fmt.Errorf("keep %s, ask %s: want none below zero", c.Keep, c.Ask)
	}
	for _, p := range c.Peers {
		if err := validPeer(p); err != nil {
			return err
		}
	}
	return nil
}

func validPeer(p CheckPeer) error {
	if err := allocator.ValidName("node", p.Node); err != nil {
		return err
	}
	addresses := p.Hops
	for _, probe := range p.Probes {
		if err := allocator.ValidName("pool", probe.Pool); err != nil {
			return err
		}
		if probe.MTU < 0 || probe.MTU > 1<<16 {
			return fmt.Errorf("MTU %d: want one of an interface", probe.MTU)
		}
		addresses = append(addresses[:len(addresses):len(addresses)], probe.Addresses...)
	}
	for _, a := range addresses {
		if err := kv.ValidAddress(a); err != nil {
			return err
		}
	}
	return nil
}

func validCheckAnswer(a *CheckAnswer, key kv.Key, _ int64) error {
	if key.Node == "" {
		return errors.New("its key names no node")
	}
	return firstOf(agreeIfThere("node", a.Node, key.Node), validPeer(CheckPeer{Node: key.Node, Probes: a.Probes}))
}
