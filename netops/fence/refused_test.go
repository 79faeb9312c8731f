package fence

import (
	"slices"
	"testing"
	"time"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/netops/nettest"
)

// What the kernel does not carry out, or does not tell, is neither done nor nothing.
func TestWhatTheKernelRefusesIsAnErrorOfItsCaller(t *testing.T) {
	for name, do := range map[string]func(k *Table) error{
		"Join":        func(k *Table) error { return k.Join(anyone("bth2", "stateful")) },
		"Join anew":   func(k *Table) error { return k.Join(anyone("bth1", "stateful")) },
		"Leave":       func(k *Table) error { return k.Leave("bth1") },
		"Classes":     func(k *Table) error { _, err := k.Classes(); return err },
		"EnsureTable": func(k *Table) error { return k.EnsureTable() },
		"SetFence":    func(k *Table) error { return k.SetFence(false, nil) },
		"the same":    func(k *Table) error { return k.SetFence(true, long()) },
		"Fenced":      func(k *Table) error { _, err := k.Fenced(); return err },
		"Passing":     func(k *Table) error { _, err := k.Passing(); return err },
		"TryFence":    func(k *Table) error { return k.TryFence() },
		"Arm":         func(k *Table) error { return k.Arm(long()) },
		"Open":        func(k *Table) error { return k.Open() },
		"CloseAll":    func(k *Table) error { return k.CloseAll() },
		"Masquerade":  func(k *Table) error { return k.Masquerade(prefixes("10.42.0.0/16"), nil) },
		"Masquerades": func(k *Table) error { _, err := k.Masquerades(prefixes("10.42.0.0/16")[0], nil); return err },
	} {
		t.Run(name, func(t *testing.T) {
			k, _ := newHost(t)
			must(t, k.Join(anyone("bth1", "stateless")))
			must(t, k.SetFence(true, nil))
			must(t, k.Arm(long()))
			k.Close()
			withoutFiles(t, func() {
				if do(k) == nil {
					t.Error("it says that it is done")
				}
			})
			if is, err := k.Fenced(); !is || err != nil {
				t.Errorf("afterwards it is fenced: %t, %v", is, err)
			}
		})
	}
	host := newSpace(t)
	home := host.Open()
	withoutFiles(t, func() {
		if _, err := Open(home, &Senders{}); err == nil {
			t.Error("a table is said to be there")
		}
	})
}

// passing fails unless the classes that are wanted, and no others, pass for longer than least and at most for most.
func passing(t *testing.T, k *Table, what string, least, most time.Duration, classes ...string) {
	t.Helper()
	got, err := k.Passing()
	must(t, err)
	if len(got) != len(classes) {
		t.Errorf("%s: passing are %v, want %v", what, got, classes)
	}
	for _, class := range classes {
		if left := got[class]; left <= least || left > most {
			t.Errorf("%s: class %s passes for %s", what, class, left)
		}
	}
}

func TestTheFenceTellsForHowLongEachClassPasses(t *testing.T) {
	k, host := newHost(t)
	hour := 59 * time.Minute
	passing(t, k, "without strict mode", 0, 0)
	must(t, k.SetFence(true, map[string]time.Duration{"stateful": time.Hour, "stateless": time.Microsecond}))
	passing(t, k, "one class had a right", hour, time.Hour, "stateful")
	must(t, k.SetFence(true, long()))
	passing(t, k, "asked for again", hour, time.Hour, "stateful")
	must(t, k.Arm(map[string]time.Duration{"stateful": 3 * time.Hour, "stateless": time.Hour}))
	passing(t, k, "armed", hour, time.Hour, "stateful")
	must(t, k.Open())
	if got, err := k.Passing(); err != nil || len(got) != 2 || got["stateful"] < 2*time.Hour || got["stateless"] > time.Hour {
		t.Errorf("opened: %v, %v", got, err)
	}
	k.Close()
	k = openIn(t, host)
	if got, err := k.Passing(); err != nil || len(got) != 2 || got["stateful"] < 2*time.Hour {
		t.Errorf("the next agent is told %v, %v", got, err)
	}
	must(t, k.CloseAll())
	passing(t, k, "closed", 0, 0)
	must(t, k.Arm(long()))
	must(t, k.Open())
	must(t, k.SetFence(false, long()))
	passing(t, k, "in evidence mode", 0, 0)
	must(t, k.SetFence(true, map[string]time.Duration{"stateful": time.Minute}))
	passing(t, k, "in strict mode again", 0, time.Minute, "stateful")
	must(t, k.SetFence(false, nil))
	must(t, k.SetFence(true, nil))
	passing(t, k, "and without a right", 0, 0)
	must(t, k.SetFence(false, nil))
	must(t, k.SetFence(true, only("stateful", 20*time.Millisecond)))
	nettest.Eventually(t, "the kernel has closed the class", func() bool {
		got, err := k.Passing()
		must(t, err)
		return len(got) == 0
	})
}

func TestPortsAreInTheirClassesThroughEachChangeOfMode(t *testing.T) {
	k, _ := newHost(t)
	want := map[string]string{"bth1": "stateless", "bth2": "stateful"}
	for port, class := range want {
		must(t, k.Join(anyone(port, class)))
		must(t, k.Join(anyone(port, class))) // again
	}
	for _, on := range []bool{true, false} {
		must(t, k.SetFence(on, nil))
		expectClasses(t, k, want)
		must(t, k.TryFence())
		expectFenced(t, k, on)
	}
}

func TestATimeThatTheKernelCannotCountIsNotArmed(t *testing.T) {
	k, _ := newHost(t)
	must(t, k.SetFence(true, nil))
	for d, ok := range map[time.Duration]bool{
		-time.Hour: false, 0: false, time.Millisecond - 1: false, time.Millisecond: true, time.Hour: true,
	} {
		if err := k.Arm(only("stateful", d)); (err == nil) != ok {
			t.Errorf("armed for %s: %v", d, err)
		}
		if err := k.Open(); (err == nil) != ok {
			t.Errorf("opened for %s: %v", d, err)
		}
	}
}

func TestOnlyMessagesAboutItsTablesConcernTheFence(t *testing.T) {
	message := func(family byte, attributes ...[]byte) []byte {
		return append([]byte{family, 0, 0, 0}, slices.Concat(attributes...)...)
	}
	attribute := func(kind byte, text string) []byte {
		all := append([]byte{byte(4 + len(text) + 1), 0, kind, 0}, text+"\x00"...)
		for len(all)%4 != 0 {
			all = append(all, 0)
		}
		return all
	}
	table := attribute(unix.NFTA_TABLE_NAME, filterTable.Name)
	bridge, v4, v6 := byte(nftables.TableFamilyBridge), byte(nftables.TableFamilyIPv4), byte(nftables.TableFamilyIPv6)
	masquerade := attribute(unix.NFTA_TABLE_NAME, MasqueradeTable)
	for what, c := range map[string]struct {
		body []byte
		want Change
	}{
		"its table":                  {message(bridge, table), FilterChanged},
		"after another attribute":    {message(bridge, attribute(9, filterTable.Name), table), FilterChanged},
		"another attribute alone":    {message(bridge, attribute(9, filterTable.Name)), 0},
		"its name in another family": {message(v4, attribute(unix.NFTA_TABLE_NAME, filterTable.Name+"x"), table), 0},
		"masquerading of IPv4":       {message(v4, masquerade), MasqueradeChanged},
		"masquerading of IPv6":       {message(v6, masquerade), MasqueradeChanged},
		"masquerading of a bridge":   {message(bridge, attribute(unix.NFTA_TABLE_NAME, MasqueradeTable+"x")), 0},
		"no attribute":               {message(bridge), 0},
		"a part of the header":       {[]byte{bridge, 0, 0}, 0},
		"nothing":                    {nil, 0},
	} {
		if got := concerns(c.body); got != c.want {
			t.Errorf("%s: %v, want %v", what, got, c.want)
		}
	}
}
