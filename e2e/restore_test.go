package e2e

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/berth-ipam/berth/e2e/lab"
	"github.com/berth-ipam/berth/e2e/lab/labtest"
)

const briefPool = `settings:
  session: 3s
  addressLease: 8s
` + onePool

// restorations are ways in which etcd becomes another than it was.
var restorations = map[string]func(t *testing.T, l *lab.Lab, snapshot string) error{
	"restored with a new token": func(t *testing.T, l *lab.Lab, snapshot string) error {
		return l.Etcd.Restore(t.Context(), snapshot, lab.NewToken)
	},
	"restored with the same token": func(t *testing.T, l *lab.Lab, snapshot string) error {
		return l.Etcd.Restore(t.Context(), snapshot, lab.SameToken)
	},
	"made anew": func(t *testing.T, l *lab.Lab, _ string) error { return l.Etcd.Recreate(t.Context()) },
}

func TestARestoredEtcdLearnsAgainWhatRuns(t *testing.T) {
	for how, restore := range restorations {
		t.Run(how, func(t *testing.T) {
			l := newLab(t, 3, briefPool)
			var running []*lab.Container
			start := func(name string, nodes ...int) {
				for i, n := range nodes {
					running = append(running, container(t, l.Nodes[n], l, "BERTH_APP", "web"), member(t, l.Nodes[n], l, fmt.Sprint(name, i)))
				}
				for _, c := range running[len(running)-2*len(nodes):] {
					add(t, c)
				}
			}
			start("early-", 0, 1)
			shows(t, l, stateless(running)...)
			snapshot := filepath.Join(t.TempDir(), "snapshot")
			if err := l.Etcd.Snapshot(t.Context(), snapshot); err != nil {
				t.Fatal(err)
			}
			// What the snapshot does not know: containers, a node's first block, a member that has moved, one that has ended.
			start("late-", 2, 0)
			moving, ending := running[1], running[0]
			del(t, moving)
			running[1] = member(t, l.Nodes[2], l, "early-0")
			if had := moving.Address; add(t, running[1]) == had {
				t.Log("moved")
			}
			del(t, ending)
			running = running[1:]
			shows(t, l, stateless(running)...)
			had := map[string]netip.Addr{}
			for _, c := range running {
				had[c.ID] = c.Address
			}

			if err := restore(t, l, snapshot); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			if how == "made anew" {
				labtest.Eventually(t, "every node has joined, and knows of no configuration", func() error {
					joined, err := l.Etcd.Get(t.Context(), "/berth/v1/nodes/")
					if err == nil && len(joined) < len(l.Nodes) {
						err = fmt.Errorf("joined have %d", len(joined))
					}
					return err
				})
				labtest.Eventually(t, "the configuration is applied again", func() error { _, err := labtest.Apply(t, l, briefPool); return err })
			}
			labtest.Eventually(t, "etcd knows again what runs", func() error { return known(t, l, running) })
			t.Logf("%s: etcd knew again what runs after %v", how, ms(time.Since(began)))
			for _, c := range running {
				if err := c.Check(t.Context()); err != nil {
					t.Errorf("CHECK of %s on %s: %v", c.ID, c.Node.Name, err)
				}
				reaches(t, c, running[0].Address)
			}
			fresh := member(t, l.Nodes[1], l, "fresh-0")
			_, early := fresh.Add(t.Context())
			refused(t, early, 11, "restored")
			labtest.Eventually(t, "new members start again", func() error { _, err := fresh.Add(t.Context()); return err })
			t.Logf("%s: a new member started after %v (the longest right is 8s)", how, ms(time.Since(began)))
			for _, c := range running {
				if had[c.ID] == fresh.Address {
					t.Errorf("%s and %s both have %v", c.ID, fresh.ID, fresh.Address)
				}
			}
			add(t, container(t, l.Nodes[1], l))
		})
	}
}

// stateless are those of the containers that are not members of the app db.
func stateless(all []*lab.Container) (some []*lab.Container) {
	for _, c := range all {
		if len(c.Args) == 1 {
			some = append(some, c)
		}
	}
	return some
}

// known reports which of the containers etcd does not show.
func known(t *testing.T, l *lab.Lab, all []*lab.Container) error {
	t.Helper()
	assignments, err := l.Etcd.Get(t.Context(), "/berth/v1/assignments/default/")
	if err != nil {
		return err
	}
	reservations, err := l.Etcd.Get(t.Context(), "/berth/v1/reservations/default/")
	if err != nil {
		return err
	}
	var errs []error
	for _, c := range all {
		record := assignments["/berth/v1/assignments/default/"+c.Address.String()] +
			reservations["/berth/v1/reservations/default/"+c.Address.String()]
		if !strings.Contains(record, `"`+c.ID+`"`) || !strings.Contains(record, `"node":"`+c.Node.Name+`"`) {
			errs = append(errs, fmt.Errorf("%v is shown as %q: want %s on %s", c.Address, record, c.ID, c.Node.Name))
		}
	}
	return errors.Join(errs...)
}

func TestARebootedNodesAddressesAreBackAndItsMembersGetTheirs(t *testing.T) {
	l := newLab(t, 2, onePool)
	node := l.Nodes[0]
	other := container(t, l.Nodes[1], l)
	add(t, other)
	had := map[string]netip.Addr{}
	for i := range 5 {
		add(t, container(t, node, l, "BERTH_APP", "web"))
		name := fmt.Sprint("db-", i)
		had[name] = add(t, member(t, node, l, name))
	}
	if err := node.Reboot(t.Context()); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	labtest.Eventually(t, "nothing of the former boot is assigned or attached", func() error {
		return known(t, l, nil)
	})
	shows(t, l, other)
	t.Logf("the addresses were back %v after berthd was ready", ms(time.Since(began)))
	for name, address := range had {
		c := member(t, node, l, name)
		if got := add(t, c); got != address {
			t.Errorf("%s has %v: want %v", name, got, address)
		}
		reaches(t, other, address)
	}
	t.Logf("and the members had theirs after %v", ms(time.Since(began)))
}
