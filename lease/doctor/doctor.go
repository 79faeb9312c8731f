// Package doctor finds where etcd, the nodes' journals and their kernels disagree, and repairs what can be repaired safely.
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
	// looks is how often the state is read: Doctor reports only what persists, since what is under way differs the next time.
	looks = 3
	// rounds is how often Fix repairs and reads again: one repair can bring another finding to light.
	rounds = 4
)

// Options say who asks, and for how long.
type Options struct {
	Who      string        // as agents log it
	Patience time.Duration // how long agents may take to answer
	Settle   time.Duration // between two readings; 0: a second
}

// A Report is what was found.
type Report struct {
	Revision int64     `json:"revision"` // etcd's, at the last reading
	Answered []string  `json:"answered"` // the nodes that answered
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

// Examine requests a report from every agent, reads all of etcd, and compares them. It does so three times, or until there is no
// finding, and reports what it has found each time.
func Examine(ctx context.Context, s *lease.Operator, o Options) (*Report, error) {
	var report *Report
	var silent []string
	for n := range looks {
		if n > 0 {
			if err := task.Pause(ctx, cmp.Or(o.Settle, time.Second)); err != nil {
				return nil, err
			}
		}
		v, err := observe(ctx, s, o, silent)
		if err != nil {
			return nil, err
		}
		next := compare(v)
		if report != nil {
			next.Findings = confirmed(report.Findings, next.Findings)
		}
		if report, silent = next, v.silent; len(report.Findings) == 0 {
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

// Fix repairs what can be repaired safely, examines again, and returns what is left and what was repaired. Each repair in etcd is a
// transaction that compares all that the finding relies on. Repairs on a node are left to its agent.
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
			// A repair whose compares fail is found again by the next reading, or is not needed any more.
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
