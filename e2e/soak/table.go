package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/berth-ipam/berth/e2e/lab"
)

// A table prints one line a sample, with the nodes' numbers in their order.
type table struct {
	out   io.Writer
	began time.Time
}

const layout = "%-8s %8s %8s %6s  %-20s %-11s %-20s %-15s %s\n"

func (t *table) head(l *lab.Lab) {
	var names []string
	for _, node := range l.Nodes {
		names = append(names, node.Name)
	}
	of := " " + strings.Join(names, " ")
	fmt.Fprintf(t.out, layout, "after", "ADDs", "DELs", "again", "RSS KiB"+of, "goroutines", "descriptors+netlink", "journal KiB",
		"keys in etcd")
}

func (t *table) row(note string, l *load, s *sample) {
	column := func(f func(usage) any) string {
		var texts []string
		for _, u := range s.nodes {
			texts = append(texts, fmt.Sprint(f(u)))
		}
		return strings.Join(texts, " ")
	}
	fmt.Fprintf(t.out, layout, time.Since(t.began).Round(time.Second), fmt.Sprint(l.adds.Load()), fmt.Sprint(l.dels.Load()),
		fmt.Sprint(l.again.Load()),
		column(func(u usage) any { return u.rss }), column(func(u usage) any { return u.goroutines }),
		column(func(u usage) any { return fmt.Sprintf("%d+%d", u.descriptors, u.netlink) }),
		column(func(u usage) any { return u.journal / 1024 }),
		strings.TrimSpace(fmt.Sprintf("%d %s", s.total(), note)))
}
