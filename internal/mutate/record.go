package mutate

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// binary compiles a package's tests once and records what they reach.
func (c *campaign) binary(ctx context.Context, pkg string) (*binary, error) {
	if b, known := c.binaries[pkg]; known {
		return b, nil
	}
	b, err := build(ctx, c.Root, c.file, c.dir, pkg)
	if err != nil {
		return nil, err
	}
	if b != nil {
		if err := c.record(ctx, b); err != nil {
			return nil, err
		}
	}
	c.binaries[pkg] = b
	return b, nil
}

func (c *campaign) record(ctx context.Context, b *binary) error {
	names, err := b.tests(ctx)
	if err != nil {
		return err
	}
	if c.Tests != nil {
		names = slices.DeleteFunc(names, func(n string) bool { return !c.Tests.MatchString(n) })
	}
	began := time.Now()
	b.recorded = make([]test, len(names))
	failures := make([]error, len(names))
	var runs []func()
	for i, name := range names {
		runs = append(runs, func() {
			if !c.late() {
				b.recorded[i], failures[i] = b.record(ctx, c.dir, name, len(c.mutants))
			}
		})
	}
	c.atOnce(runs)
	for i, name := range names {
		if failures[i] != nil {
			return failures[i]
		}
		b.cut = b.cut || b.recorded[i].name == ""
		if b.recorded[i].fails {
			c.failing = append(c.failing, b.name+": "+name)
		}
	}
	fmt.Fprintf(c.Log, "%s: %d tests recorded, %s\n", b.name, len(names), time.Since(began).Round(time.Second))
	return nil
}
