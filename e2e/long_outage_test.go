package e2e

import (
	"os"
	"slices"
	"testing"
	"time"

	"github.com/berth-ipam/berth/e2e/lab"
	"github.com/berth-ipam/berth/e2e/lab/labtest"
)

// outageIn in the environment is how long the test below keeps etcd away: 10m, say.
const outageIn = "BERTH_OUTAGE"

// A pace is how ADDs and DELs went, one after the other.
type pace struct{ adds, dels []time.Duration }

func (p *pace) tell(t *testing.T, when string) {
	t.Helper()
	for what, took := range map[string][]time.Duration{"ADD": p.adds, "DEL": p.dels} {
		slices.Sort(took)
		t.Logf("%s: %d %s, p50 %v, p99 %v, the slowest %v", when, len(took), what,
			took[len(took)/2].Round(10*time.Microsecond), took[len(took)*99/100].Round(10*time.Microsecond),
			took[len(took)-1].Round(10*time.Microsecond))
	}
}

// cycle adds and deletes stateless containers on all nodes for a while, each time with some others there.
func cycle(t *testing.T, l *lab.Lab, while time.Duration) (p pace) {
	t.Helper()
	var there []*lab.Container
	for end, i := time.Now().Add(while), 0; time.Now().Before(end) || len(p.adds) < 10; i++ {
		c := container(t, l.Nodes[i%len(l.Nodes)], l, "BERTH_APP", "web")
		began := time.Now()
		add(t, c)
		p.adds = append(p.adds, time.Since(began))
		if there = append(there, c); len(there) > 8 {
			began = time.Now()
			if err := there[0].Del(t.Context()); err != nil {
				t.Fatalf("DEL: %v", err)
			}
			p.dels = append(p.dels, time.Since(began))
			if err := there[0].Remove(); err != nil {
				t.Fatal(err)
			}
			there = there[1:]
		}
		time.Sleep(50 * time.Millisecond) // a node is not for this test alone
	}
	for _, c := range there {
		del(t, c)
	}
	return p
}

func TestALongOutageOfEtcdIsNotFeltByStatelessContainersAndSettledAfter(t *testing.T) {
	outage := 8 * time.Second
	if text := os.Getenv(outageIn); text != "" {
		var err error
		if outage, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	l := newLab(t, 2, onePool)
	before := warm(t, l)
	stays := []*lab.Container{container(t, l.Nodes[0], l), member(t, l.Nodes[1], l, "db-0")}
	goes := []*lab.Container{member(t, l.Nodes[0], l, "db-1"), member(t, l.Nodes[1], l, "db-2")}
	for _, c := range append(slices.Clone(stays), goes...) {
		add(t, c)
	}
	moving := goes[0].Address
	well := cycle(t, l, min(outage, time.Minute))
	if err := l.Etcd.Halt(); err != nil {
		t.Fatal(err)
	}
	for _, c := range goes {
		del(t, c)
	}
	away := cycle(t, l, outage)
	well.tell(t, "with etcd")
	away.tell(t, "etcd away for "+outage.String())
	if err := l.Etcd.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	back := time.Now()
	next := member(t, l.Nodes[1], l, "db-1")
	labtest.Eventually(t, "the members' DELs are settled", func() error { _, err := next.Add(t.Context()); return err })
	t.Logf("a member that was deleted meanwhile started on another node %v after etcd was back", ms(time.Since(back)))
	if next.Address != moving {
		t.Errorf("the member has %v: want %v", next.Address, moving)
	}
	for _, c := range append(stays, next) {
		reaches(t, c, stays[0].Address)
		del(t, c)
	}
	emptied(t, l, before)
}
