package mutate

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"
)

// attempt runs the shortest tests that reach a mutant, and then the others, as far as the budget goes.
func (c *campaign) attempt(ctx context.Context, b *binary, tests []test, o *Outcome) {
	if o.Reached += len(tests); c.late() {
		o.Untried = true
		return
	}
	for _, batch := range batches(tests, c.Budget) {
		var names []string
		var took time.Duration
		for _, t := range batch {
			names, took = append(names, t.name), took+t.took
		}
		ran := b.with(ctx, o.Mutant, names, c.slack+multiple*took)
		if !ran.passed {
			if o.Killed, o.Late, o.By = true, ran.late, ran.killer(); o.By == "" {
				o.By = b.name
			}
			return
		}
		o.Survived = append(o.Survived, names...)
	}
	fmt.Fprintf(c.Log, "survives the tests of %s: %s\n", b.name, o.Mutant)
}

// multiple of what tests take without a mutant they may take with it.
const multiple = 5

// batches are tests in the order of their lengths: a few seconds of them first, and then as many as the budget allows.
func batches(tests []test, budget time.Duration) (batches [][]test) {
	slices.SortStableFunc(tests, func(a, b test) int { return cmp.Compare(a.took, b.took) })
	var batch []test
	var took, all time.Duration
	for i, t := range tests {
		if all += t.took; all > budget && i > 0 {
			break
		}
		if len(batches) == 0 && len(batch) > 0 && took+t.took > 2*time.Second {
			batches, batch = append(batches, batch), nil
		}
		batch, took = append(batch, t), took+t.took
	}
	return append(batches, batch)
}
