package doctor

import (
	"cmp"
	"slices"
)

// A comparison is what was found in a view so far.
type comparison struct {
	*view
	findings []Finding
}

// compare makes all comparisons.
func compare(v *view) *Report {
	c := &comparison{view: v}
	r := &Report{Revision: c.Revision, Answered: []string{}, Silent: []string{}, Away: []string{}, Findings: []Finding{},
		Repaired: []Finding{}, state: c.State}
	c.compareRecords()
	c.compareNodes()
	c.compareBlocks()
	c.compareAssignments()
	c.compareReservations()
	c.compareIdentities()
	c.compareJournals()
	c.compareKernels()
	c.withhold()
	for name := range c.answers {
		r.Answered = append(r.Answered, name)
	}
	r.Silent = append(r.Silent, c.silent...)
	for name := range c.Nodes {
		if c.known(name) && !c.Live(name) {
			r.Away = append(r.Away, name)
		}
	}
	slices.Sort(r.Answered)
	slices.Sort(r.Away)
	r.Findings = append(r.Findings, c.findings...)
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.where(), b.where()),
			cmp.Compare(a.Container, b.Container))
	})
	return r
}

// rank puts causes before what may follow from them.
func rank(f Finding) int {
	if f.isCause() {
		return 0
	}
	return 1
}

// found adds a finding.
func (c *comparison) found(f Finding) {
	f.Fix = f.repair != nil || len(f.ask) > 0
	if f.Fix && f.Repair == "" {
		f.Repair = "berthctl doctor --fix"
	}
	c.findings = append(c.findings, f)
}
