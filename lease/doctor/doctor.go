// Package doctor finds where etcd, the nodes' journals and their kernels disagree, and mends what can be mended safely.
package doctor

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/lease"
	"github.com/berth-ipam/berth/lease/admin"
	"github.com/berth-ipam/berth/lease/record"
)

const (
	// looks is how often all is compared before something counts as found: what is on its way is not there, or not
	// the same, when one looks again.
	looks = 3
	// rounds is how often Fix mends and looks again: one repair can bring another to light.
	rounds = 4
)

// Options say how it is looked.
type Options struct {
	Who      string        // as agents log it
	Patience time.Duration // how long agents may take to answer
	Settle   time.Duration // between two looks; 0: a second
}

// A Report is what was found.
type Report struct {
	Revision int64     `json:"revision"` // of etcd, that was looked at last
	Answered []string  `json:"answered"` // the nodes that did
	Silent   []string  `json:"silent"`   // the nodes that have a session and did not answer
	Away     []string  `json:"away"`     // the nodes without a session
	Findings []Finding `json:"findings"` // by kind, and where
	Repaired []Finding `json:"mended"`   // by Fix

	state *admin.State
}

// Left counts what is wrong; notes are not.
func (r *Report) Left() (n int) {
	for _, f := range r.Findings {
		if !f.Note {
			n++
		}
	}
	return n
}

// Examine asks all agents and reads all of etcd, and compares them. It looks again until there is nothing, or for
// three times, and reports what it has seen each time.
func Examine(ctx context.Context, s *lease.Operator, o Options) (*Report, error) {
	var report *Report
	var deaf []string
	for n := range looks {
		if n > 0 {
			if err := task.Pause(ctx, cmp.Or(o.Settle, time.Second)); err != nil {
				return nil, err
			}
		}
		l, err := observe(ctx, s, o, deaf)
		if err != nil {
			return nil, err
		}
		next := l.report()
		if report != nil {
			next.Findings = confirmed(report.Findings, next.Findings)
		}
		if report, deaf = next, l.silent; len(report.Findings) == 0 {
			break
		}
	}
	return report, nil
}

// confirmed are those of now that were found before, too.
func confirmed(before, now []Finding) []Finding {
	known := map[string]bool{}
	for _, f := range before {
		known[f.id()] = true
	}
	return slices.DeleteFunc(now, func(f Finding) bool { return !known[f.id()] })
}

// Fix mends of a report what can be mended safely, looks again, and returns what is left and what was mended. Each
// repair in etcd is a transaction that compares all that the finding rests upon; repairs on a node are left to its
// agent.
func Fix(ctx context.Context, s *lease.Operator, found *Report, o Options) (*Report, error) {
	before, report := found.Findings, found
	for n := 0; n < rounds && slices.ContainsFunc(report.Findings, func(f Finding) bool { return f.Fix }); n++ {
		if err := carryOut(ctx, s, report, o); err != nil {
			return nil, err
		}
		next, err := Examine(ctx, s, o)
		if err != nil {
			return nil, err
		}
		report = next
	}
	left := map[string]bool{}
	for _, f := range report.Findings {
		left[f.id()] = true
	}
	for _, f := range before {
		if f.Fix && !left[f.id()] {
			report.Repaired = append(report.Repaired, f)
		}
	}
	return report, nil
}

// carryOut carries out the repairs, and then lets the nodes settle that are to.
func carryOut(ctx context.Context, s *lease.Operator, r *Report, o Options) error {
	var ask []string
	for _, f := range r.Findings {
		if !f.Fix {
			continue
		}
		if f.repair != nil {
			// One that does not hold any more is found again, or is not there any more.
			if _, err := s.Admin.Repair(ctx, r.state, *f.repair); err != nil {
				return err
			}
		}
		ask = append(ask, f.ask...)
	}
	if len(ask) == 0 {
		return nil
	}
	slices.Sort(ask)
	_, _, err := s.Reports.Request(ctx, record.ReportRequest{Who: o.Who, Repair: slices.Compact(ask)}, o.Patience)
	return err
}
