package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/berth-ipam/berth/e2e/lab"
	"github.com/berth-ipam/berth/e2e/lab/labtest"
)

// How many damages there are, how many stand at once, and what chooses them. BERTH_DAMAGES=300 is the long run.
var (
	damages     = number("BERTH_DAMAGES", 8)
	atOnce      = number("BERTH_DAMAGES_AT_ONCE", 8)
	damagesSeed = number("BERTH_DAMAGES_SEED", 1)
)

func number(variable string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(variable)); err == nil {
		return n
	}
	return otherwise
}

// A survivor is a container that lives all the time and loses nothing.
type survivor struct {
	*lab.Container
	address netip.Addr
}

func TestADamagedRecordCostsOnlyItselfAndNoAdviceHurtsALiveContainer(t *testing.T) {
	l := newLab(t, 3, onePool)
	w := &wrecker{T: t, lab: l, etcd: newVandal(t, l).etcd, random: rand.New(rand.NewPCG(uint64(damagesSeed), 4))}
	var survivors []survivor
	for i, n := range l.Nodes {
		for j := range 2 {
			c, m := container(t, n, l, "BERTH_NAMESPACE", "shop", "BERTH_APP", "web"), member(t, n, l, fmt.Sprintf("keeps-%d-%d", i, j))
			survivors = append(survivors, survivor{c, add(t, c)}, survivor{m, add(t, m)})
		}
	}
	labtest.Eventually(t, "all is published", func() error { return healthy(t, l) })
	pids := map[string]int{}
	for _, n := range l.Nodes {
		pids[n.Name] = n.PID()
	}
	load := beginLoad(t, l)
	done, rounds := 0, 0
	tally := map[string]int{}
	for done < damages {
		rounds++
		var standing []hit
		for tries := 0; len(standing) < min(atOnce, damages-done) && tries < 200; tries++ {
			if h := w.hit(standing); h != nil {
				standing = append(standing, *h)
				tally[h.kind+" "+h.how]++
				t.Logf("round %d: %s", rounds, h)
			}
		}
		done += len(standing)
		w.judge(standing, rounds)
		for _, n := range l.Nodes {
			if !n.Running() || n.PID() != pids[n.Name] {
				t.Fatalf("the agent of %s has ended: %s", n.Name, n.Log(30))
			}
		}
		lookAfter(t, survivors)
		if t.Failed() {
			break
		}
	}
	load.end()
	t.Logf("%d damages in %d rounds: %v; %d ADDs under load, %d of them had to be repeated", done, rounds, tally, load.adds, load.repeats)
	for _, c := range survivors {
		if err := c.Check(t.Context()); err != nil {
			t.Errorf("CHECK of %s on %s: %v", c.ID, c.Node.Name, err)
		}
	}
}

// judge looks whether what stands is told of, has the advice carried out, and waits until all agree again.
func (w *wrecker) judge(standing []hit, round int) {
	w.Helper()
	var d diagnosis
	labtest.Eventually(w.T, "each damage is named", func() error {
		d, _ = doctor(w.T, w.lab)
		var errs []error
		for _, h := range standing {
			errs = append(errs, w.named(h, d))
		}
		return errors.Join(errs...)
	})
	if round%2 == 1 {
		doctor(w.T, w.lab, "--fix")
	}
	w.obey(d)
	began := time.Now()
	for {
		d, _ := doctor(w.T, w.lab)
		left := slices.DeleteFunc(d.Findings, func(f finding) bool { return f.Note })
		if len(left) == 0 {
			return
		}
		if time.Since(began) > time.Minute {
			w.Errorf("a minute after the repair of round %d: %s", round, d)
			return
		}
		doctor(w.T, w.lab, "--fix")
		w.obey(d)
	}
}

func lookAfter(t *testing.T, all []survivor) {
	t.Helper()
	for i, c := range all {
		other := all[(i+5)%len(all)]
		if c.Address != c.address {
			t.Errorf("%s had %s and has %s", c.ID, c.address, c.Address)
		}
		reaches(t, other.Container, c.address)
		reaches(t, c.Container, other.address)
	}
}
