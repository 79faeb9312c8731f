package fence

import (
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// deafen makes the kernel's answer to the next change of the table get lost: it is carried out, and fails here. The
// socket hears of others' changes, too, and there have been more than it has room for.
func deafen(t *testing.T, k *Table, host space) {
	t.Helper()
	crowded := func(c *netlink.Conn) error {
		if err := c.SetReadBuffer(1); err != nil {
			return err
		}
		return c.JoinGroup(unix.NFNLGRP_NFTABLES)
	}
	host.Do(func() (err error) {
		k.conn, err = nftables.New(nftables.AsLasting(), nftables.WithSockOptions(crowded))
		return err
	})
	for range 20 {
		host.Do(func() error {
			c := &nftables.Conn{}
			c.DelTable(c.AddTable(&nftables.Table{Name: "other", Family: nftables.TableFamilyBridge}))
			return c.Flush()
		})
	}
}

// withoutFiles runs f while this process can open none.
func withoutFiles(t *testing.T, f func()) {
	t.Helper()
	var was unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &was))
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: was.Max}))
	defer func() { must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &was)) }()
	f()
}

func TestAChangeWhoseAnswerIsLostIsCarriedOutNevertheless(t *testing.T) {
	k, host := newHost(t)
	must(t, k.Join(anyone("bth1", "stateless")))
	for _, step := range []struct {
		change func() error
		want   map[string]string
	}{
		{func() error { return k.Join(anyone("bth2", "stateful")) }, map[string]string{"bth1": "stateless", "bth2": "stateful"}},
		{func() error { return k.Join(anyone("bth1", "stateful")) }, map[string]string{"bth1": "stateful", "bth2": "stateful"}},
		{func() error { return k.Leave("bth2") }, map[string]string{"bth1": "stateful"}},
	} {
		deafen(t, k, host)
		must(t, step.change())
		expectClasses(t, k, step.want)
	}
}

func TestAPortWhoseCutFailedIsCutByTheNextThatIsDone(t *testing.T) {
	k, host := newBridge(t)
	must(t, k.Join(anyone("bthsame", "stateful")))
	for name, next := range map[string]func() error{
		"Join of another": func() error { return k.Join(anyone("bthother", "stateful")) },
		"Join once more":  func() error { return k.Join(anyone("bthsame", "stateful")) },
		"Leave of none":   func() error { return k.Leave("bthnone") },
		"Arm":             func() error { return k.Arm(only("stateful", time.Hour)) },
		"Classes":         func() error { _, err := k.Classes(); return err },
		"EnsureTable":     func() error { return k.EnsureTable() },
		"SetFence":        func() error { return k.SetFence(!k.strict.on, long()) },
	} {
		p, inside := newContainer(t, k, host, 1)
		if !hears(t, host, inside, p.Addresses[0].Addr(), patience) {
			t.Fatalf("%s: nothing passes at first", name)
		}
		k.Close()
		withoutFiles(t, func() {
			if k.Leave(p.Name) == nil {
				t.Fatalf("%s: nothing failed", name)
			}
		})
		must(t, next())
		if hears(t, host, inside, p.Addresses[0].Addr(), silence) {
			t.Errorf("%s: it passes still", name)
		}
		host.Do(func() error { return removeLink(p.Name) })
	}
}

func TestAProofThatCouldNotBeArmedForOpensNothing(t *testing.T) {
	k, _ := newHost(t)
	must(t, k.SetFence(true, nil))
	must(t, k.Arm(long()))
	k.Close()
	withoutFiles(t, func() {
		if k.Arm(long()) == nil {
			t.Fatal("nothing failed")
		}
	})
	if err := k.Open(); !mentions(err, "Arm") {
		t.Errorf("open after an Arm that failed: error %v: want one that asks for Arm", err)
	}
}

func TestAPortWhoseJoinFailedIsInNoClass(t *testing.T) {
	k, host := newHost(t)
	deafen(t, k, host)
	withoutFiles(t, func() {
		if k.Join(anyone("bth1", "stateless")) == nil {
			t.Fatal("nothing failed")
		}
	})
	must(t, k.Join(anyone("bth2", "stateful"))) // which puts right what the kernel may have
	expectClasses(t, k, map[string]string{"bth2": "stateful"})
}

func TestAFenceOfWhichAPartIsGoneIsTakenOverClosed(t *testing.T) {
	k, host := newBridge(t)
	p, inside := newContainer(t, k, host, 1)
	must(t, k.SetFence(true, long()))
	if !hears(t, host, inside, p.Addresses[0].Addr(), patience) {
		t.Fatal("nothing passes at first")
	}
	k.Close()
	host.Do(func() error {
		c := &nftables.Conn{}
		for _, class := range classes {
			c.FlushChain(&nftables.Chain{Name: class, Table: filterTable})
		}
		c.DelSet(locks)
		return c.Flush()
	})
	k = openIn(t, host)
	expectFenced(t, k, true)
	if hears(t, host, inside, p.Addresses[0].Addr(), silence) {
		t.Error("it passes")
	}
	prove(t, k, long())
	if !hears(t, host, inside, p.Addresses[0].Addr(), patience) {
		t.Error("nothing passes by the next proof")
	}
}
