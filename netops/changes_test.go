package netops

import (
	"slices"
	"testing"
	"time"

	"github.com/google/nftables"
)

// tableChanges counts the events of changes that have come by now.
func tableChanges(t *testing.T, k *Kernel, host space) (n int) {
	t.Helper()
	// The last one is of this test, so that all before it have come.
	host.do(func() error {
		c := &nftables.Conn{}
		must(t, renew(c, trial, 0, time.Hour))
		return c.Flush()
	})
	next(t, k, TableChanged)
	for {
		select {
		case e := <-k.Events():
			if e.Kind == TableChanged {
				n++
			}
		case <-time.After(50 * time.Millisecond):
			return n
		}
	}
}

func TestOnlyOthersChangesOfTheTableAreTold(t *testing.T) {
	k, host := newBridge(t)
	p, _ := newContainer(t, k, 1)
	must(t, k.SetFence(true, only("stateless", 20*time.Millisecond)))
	prove(t, k, only("stateless", time.Millisecond))
	time.Sleep(100 * time.Millisecond) // both run out
	must(t, k.EnsureTable())
	must(t, k.TryFence())
	must(t, k.CloseAll())
	must(t, k.Leave(p.Name))
	_ = k.table.commit(func(c *nftables.Conn) error { c.DelSet(&nftables.Set{Table: filterTable, Name: "other"}); return nil })
	must(t, k.EnsureTable()) // over another socket
	host.do(func() error {
		c := &nftables.Conn{}
		c.AddTable(&nftables.Table{Name: "other", Family: nftables.TableFamilyBridge})
		c.AddTable(&nftables.Table{Name: "berth", Family: nftables.TableFamilyINet})
		return c.Flush()
	})
	if n := tableChanges(t, k, host); n != 0 {
		t.Errorf("%d events of changes that are ours, or of other tables", n)
	}
}

func TestWhatAnotherDoesToTheTableIsTold(t *testing.T) {
	k, host := newBridge(t)
	p, _ := newContainer(t, k, 1)
	chain := &nftables.Chain{Name: "from", Table: filterTable}
	for name, do := range map[string]func(c *nftables.Conn){
		"the ruleset is flushed": func(c *nftables.Conn) { c.FlushRuleset() },
		"the table is deleted":   func(c *nftables.Conn) { c.DelTable(filterTable) },
		"a chain is flushed":     func(c *nftables.Conn) { c.FlushChain(chain) },
		"a set is flushed":       func(c *nftables.Conn) { c.FlushSet(classSets["stateless"]) },
		"a lock is added":        func(c *nftables.Conn) { must(t, c.SetAddElements(locks, lock(0, 0))) },
	} {
		host.do(func() error {
			c := &nftables.Conn{}
			do(c)
			return c.Flush()
		})
		next(t, k, TableChanged)
		must(t, k.EnsureTable())
		expectClasses(t, k, map[string]string{p.Name: "stateless"})
		if n := tableChanges(t, k, host); n != 0 {
			t.Errorf("%s: told %d times more", name, n)
		}
	}
}

func TestNewsOfTheTableThatTheKernelDropsIsTakenForAChange(t *testing.T) {
	told := make(chan Event, 2)
	c := changes{ours: &senders{}, told: told, dirty: map[EventKind]bool{}}
	c.lost()
	kinds := []EventKind{(<-told).Kind, (<-told).Kind}
	slices.Sort(kinds)
	if !slices.Equal(kinds, []EventKind{TableChanged, HostChanged}) {
		t.Errorf("events %v", kinds)
	}
}
