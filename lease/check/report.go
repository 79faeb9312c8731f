package check

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/record"
)

// A Report is what became of a check: who reaches whom, and for each way that fails where it does.
type Report struct {
	Matrices []Matrix  `json:"matrices"`
	Failures []Failure `json:"failures"`
	Ways     int       `json:"ways"` // that were to be seen, without those that are closed by design
}

// A Matrix is who reaches whom in a pool, by one family.
type Matrix struct {
	Pool   string   `json:"pool"`
	Family string   `json:"family"`
	Nodes  []string `json:"nodes"` // the columns
	Rows   []Row    `json:"rows"`
	Apart  []string `json:"apart,omitempty"` // why some are not connected by design
}

// A Row is whom a node's container reaches.
type Row struct {
	Node  string `json:"node"`
	Cells []Cell `json:"cells"`
}

// A Cell is the way from a row's node to a column's. On the diagonal it is that between a node and its own container.
type Cell struct {
	Node  string `json:"node"`
	State string `json:"state"`         // as in record.CheckStep, or one of those below
	MTU   int    `json:"mtu,omitempty"` // state mtu: the largest packet that passed, in bytes
}

// What else there can be in a cell.
const (
	StateApart   = "apart"   // not connected by design
	StateUnknown = "unknown" // one of both has no container, or its node has not answered
)

// A Failure is a way that fails, or a node that could not be asked.
type Failure struct {
	Pool   string `json:"pool,omitempty"`
	Family string `json:"family,omitempty"`
	From   string `json:"from"`
	To     string `json:"to,omitempty"` // empty: it is about the node alone
	Where  string `json:"where"`        // the first hop that fails, in words
	Advice string `json:"advice"`
}

// report judges the answers.
func (a *asker) report() *Report {
	r := &Report{Matrices: []Matrix{}, Failures: []Failure{}}
	for _, name := range a.check.Nodes {
		r.Failures = append(r.Failures, a.unanswered(name)...)
	}
	for _, pool := range a.check.Pools {
		for _, family := range []allocator.Family{allocator.V4, allocator.V6} {
			if m := a.matrix(r, pool, family); m != nil {
				r.Matrices = append(r.Matrices, *m)
			}
		}
	}
	return r
}

// unanswered is why a node could not be asked, wholly or in a pool.
func (a *asker) unanswered(name string) (all []Failure) {
	answer, answered := a.answers[name]
	if !answered {
		return []Failure{{From: name, Where: fmt.Sprintf("node %s has not answered", name), Advice: fmt.Sprintf("its berthd is of version %s: "+
			"one of a release without checks does not answer, and is to be upgraded. Else see its log, and whether its user of etcd may "+
			"write checks/ (docs/etcd.md)", cmp.Or(a.known[name].Version, "unknown"))}}
	}
	if !answer.Asked && slices.Contains(a.check.From, name) {
		all = append(all, Failure{From: name, Advice: "give a longer --timeout, or fewer nodes",
			Where: fmt.Sprintf("node %s has not told what its containers reach, before the time was over", name)})
	}
	for _, p := range answer.Probes {
		if p.Error != "" {
			all = append(all, Failure{Pool: p.Pool, From: name, Advice: "see the cause; what others reach of it is not known",
				Where: fmt.Sprintf("node %s could make no container of pool %s: %s", name, p.Pool, p.Error)})
		}
	}
	return all
}

// matrix is nil where no node has a container of the pool with an address of the family.
func (a *asker) matrix(r *Report, pool string, family allocator.Family) *Matrix {
	m := &Matrix{Pool: pool, Family: family.String(), Nodes: a.check.Nodes}
	there, ways := false, 0
	for _, from := range a.check.From {
		row := Row{Node: from}
		for _, to := range a.check.Nodes {
			w := a.way(pool, family, from, to)
			cell := w.cell()
			there = there || cell.State != StateUnknown
			switch cell.State {
			case StateApart:
				if reason := w.from.Apart(*w.to); !slices.Contains(m.Apart, reason) {
					m.Apart = append(m.Apart, reason)
				}
			case StateUnknown: // it is told of once, for the node
				ways++
			default:
				ways++
				if f := w.failure(); f != nil {
					r.Failures = append(r.Failures, *f)
				}
			}
			row.Cells = append(row.Cells, cell)
		}
		m.Rows = append(m.Rows, row)
	}
	if !there {
		return nil
	}
	r.Ways += ways
	return m
}

// way is what is known of the way from a node's container to another's.
func (a *asker) way(pool string, family allocator.Family, from, to string) way {
	w := way{pool: pool, family: family, names: [2]string{from, to}, from: probeOf(a.answers[from], pool, family),
		to: probeOf(a.answers[to], pool, family)}
	for _, result := range a.answers[from].Results {
		if result.Pool == pool && result.Node == to {
			for _, s := range result.Steps {
				if allocator.FamilyOf(s.To) == family {
					w.steps = append(w.steps, s)
				}
			}
		}
	}
	return w
}

// probeOf is a node's container in a pool; nil: it has none with an address of the family.
func probeOf(answer record.CheckAnswer, pool string, family allocator.Family) *record.CheckProbe {
	for i, p := range answer.Probes {
		if p.Pool == pool && slices.ContainsFunc(p.Addresses, func(a netip.Addr) bool { return allocator.FamilyOf(a) == family }) {
			return &answer.Probes[i]
		}
	}
	return nil
}
