package fence

import (
	"slices"
	"testing"
	"time"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/netops/rtnl"
)

// watch tells of the changes of a table that are not its own.
func watch(t *testing.T, k *Table, host space) <-chan Change {
	t.Helper()
	told := make(chan Change, 1000)
	w := NewWatch(k.ours, func(what Change) { told <- what })
	var feed *rtnl.Feed
	host.Do(func() (err error) {
		feed, err = rtnl.OpenFeed(unix.NETLINK_NETFILTER, w.Read, w.Lost, unix.NFNLGRP_NFTABLES)
		return err
	})
	t.Cleanup(feed.Close)
	go feed.Listen()
	return told
}

func expectChange(t *testing.T, told <-chan Change) {
	t.Helper()
	select {
	case what := <-told:
		if what != FilterChanged {
			t.Errorf("change %d is told: want that of the table", what)
		}
	case <-time.After(patience):
		t.Fatal("nothing is told")
	}
}

// tableChanges counts the changes that are told by now.
func tableChanges(t *testing.T, told <-chan Change, host space) (n int) {
	t.Helper()
	// The last one is of this test, so that all before it have come.
	host.Do(func() error {
		c := &nftables.Conn{}
		must(t, renew(c, trial, 0, time.Hour))
		return c.Flush()
	})
	expectChange(t, told)
	for {
		select {
		case <-told:
			n++
		case <-time.After(50 * time.Millisecond):
			return n
		}
	}
}

func TestOnlyOthersChangesOfTheTableAreReported(t *testing.T) {
	k, host := newBridge(t)
	told := watch(t, k, host)
	p, _ := newContainer(t, k, host, 1)
	must(t, k.SetFence(true, only("stateless", 20*time.Millisecond)))
	prove(t, k, only("stateless", time.Millisecond))
	time.Sleep(100 * time.Millisecond) // both run out
	must(t, k.EnsureTable())
	must(t, k.TryFence())
	must(t, k.CloseAll())
	must(t, k.Leave(p.Name))
	_ = k.commit(func(c *nftables.Conn) error { c.DelSet(&nftables.Set{Table: filterTable, Name: "other"}); return nil })
	must(t, k.EnsureTable()) // over another socket
	host.Do(func() error {
		c := &nftables.Conn{}
		c.AddTable(&nftables.Table{Name: "other", Family: nftables.TableFamilyBridge})
		c.AddTable(&nftables.Table{Name: "berth", Family: nftables.TableFamilyINet})
		return c.Flush()
	})
	if n := tableChanges(t, told, host); n != 0 {
		t.Errorf("%d events of changes that are ours, or of other tables", n)
	}
}

func TestWhatAnotherDoesToTheTableIsReported(t *testing.T) {
	k, host := newBridge(t)
	told := watch(t, k, host)
	p, _ := newContainer(t, k, host, 1)
	chain := &nftables.Chain{Name: "from", Table: filterTable}
	for name, do := range map[string]func(c *nftables.Conn){
		"the ruleset is flushed": func(c *nftables.Conn) { c.FlushRuleset() },
		"the table is deleted":   func(c *nftables.Conn) { c.DelTable(filterTable) },
		"a chain is flushed":     func(c *nftables.Conn) { c.FlushChain(chain) },
		"a set is flushed":       func(c *nftables.Conn) { c.FlushSet(classSets["stateless"]) },
		"a lock is added":        func(c *nftables.Conn) { must(t, c.SetAddElements(locks, lock(0, 0))) },
	} {
		host.Do(func() error {
			c := &nftables.Conn{}
			do(c)
			return c.Flush()
		})
		expectChange(t, told)
		must(t, k.EnsureTable())
		expectClasses(t, k, map[string]string{p.Name: "stateless"})
		if n := tableChanges(t, told, host); n != 0 {
			t.Errorf("%s: told %d times more", name, n)
		}
	}
}

func TestEventsOfTheTableThatTheKernelDropsCountAsAChange(t *testing.T) {
	var kinds []Change
	NewWatch(&Senders{}, func(what Change) { kinds = append(kinds, what) }).Lost()
	slices.Sort(kinds)
	if !slices.Equal(kinds, []Change{FilterChanged, MasqueradeChanged}) {
		t.Errorf("changes %v", kinds)
	}
}
