package faults

import (
	"context"
	"errors"
	"slices"

	"github.com/berth-ipam/berth/e2e/lab"
)

// A cut lets nothing pass from one machine to another.
type cut struct{ from, to lab.Side }

// part cuts machines from each other, in one of several ways.
func (n *nemesis) part(ctx context.Context, f Fault, pause func()) error {
	etcd := n.w.lab.Etcd.Side()
	from, to, sufferer := lab.Side{n.host(f).Name}, etcd, n.host(f).Name
	witness := n.w.lab.Etcd.Members[0] // one of those on the other side
	if f.Kind == Split {
		m := n.member(f)
		from, to, sufferer = lab.Side{m.Name}, slices.DeleteFunc(slices.Clone(etcd), func(name string) bool { return name == m.Name }), ""
		witness = n.w.lab.Etcd.Members[(f.Node+1)%etcdMembers]
	} else if f.Variant%4 == 3 {
		to, witness = lab.Side{n.member(f).Name}, n.member(f)
	}
	cuts := []cut{{from, to}, {to, from}}
	switch f.Variant % 3 { // both ways are the most frequent
	case 1:
		cuts = cuts[:1+f.Variant/6]
	case 2:
		cuts = cuts[1-f.Variant/6:]
	}
	defer n.w.suffers(f.Kind, sufferer)()
	err := n.cut(&cuts)
	if err == nil {
		n.w.shows(f.Kind, n.w.lab.Severed(ctx, from[0], witness))
	}
	pause()
	err = errors.Join(err, n.heal(&cuts))
	if f.Kind == Split {
		err = errors.Join(err, n.w.etcdServes(ctx))
	}
	return err
}

func (n *nemesis) cut(cuts *[]cut) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cuts = append(n.cuts, cuts)
	return n.apply(cuts)
}

func (n *nemesis) apply(cuts *[]cut) (err error) {
	for _, c := range *cuts {
		err = errors.Join(err, n.w.lab.Cut(c.from, c.to))
	}
	return err
}

// heal ends one partition; the others stay.
func (n *nemesis) heal(cuts *[]cut) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cuts = slices.DeleteFunc(n.cuts, func(c *[]cut) bool { return c == cuts })
	err := n.w.lab.Heal()
	for _, c := range n.cuts {
		err = errors.Join(err, n.apply(c))
	}
	return err
}
