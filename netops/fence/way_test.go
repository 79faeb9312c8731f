package fence

import (
	"errors"
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// A way is a table's connection with the kernel, which breaks at one of its exchanges.
type way struct {
	table  *Table
	kernel *netlink.Conn
	home   *os.File // of the table
	closed *os.File // no namespace: nobody reaches the kernel by it

	at      int  // the number of the exchange that fails
	heard   bool // the kernel carries that one out, and its answer is lost
	forGood bool // no other connection can be made afterwards
	passed  int
	asker   uint32 // whom the answers are for
	broken  bool
}

// breakAt has the nth exchange of a table with the kernel fail.
func breakAt(t *testing.T, k *Table, host space, n int, heard, forGood bool) *way {
	t.Helper()
	w := &way{table: k, home: k.home, at: n, heard: heard, forGood: forGood}
	var err error
	w.closed, err = os.Open(os.DevNull)
	must(t, err)
	host.Do(func() error { w.kernel, err = netlink.Dial(unix.NETLINK_NETFILTER, nil); return err })
	t.Cleanup(func() { w.kernel.Close(); w.closed.Close() })
	k.close()
	k.conn, err = nftables.New(nftables.AsLasting(), nftables.WithTestDial(w.exchange))
	must(t, err)
	return w
}

// exchange carries requests to the kernel, or without any its next answer back.
func (w *way) exchange(requests []netlink.Message) ([]netlink.Message, error) {
	if requests == nil {
		answers, err := w.kernel.Receive()
		for i := range answers {
			answers[i].Header.Flags &^= netlink.Multi // these are all of them
			answers[i].Header.PID = w.asker
		}
		if len(answers) == 0 && err == nil {
			err = io.EOF
		}
		return answers, err
	}
	w.asker = requests[0].Header.PID
	if w.passed++; w.passed != w.at {
		_, err := w.kernel.SendMessages(requests)
		return nil, err
	}
	w.broken = true
	if w.forGood {
		w.table.home = w.closed
	}
	if w.heard {
		if _, err := w.kernel.SendMessages(requests); err != nil {
			return nil, err
		}
	}
	return nil, unix.EIO
}

// Each exchange of an operation with the kernel fails in turn: alone, so that it may be tried again over another connection, or
// with all that follow; unheard by the kernel, or with the answer alone lost.
func TestWhicheverExchangeWithTheKernelFailsWhatIsSaidToBeDoneIsDone(t *testing.T) {
	join := func(port string) func(k *Table) error {
		return func(k *Table) error { return k.Join(anyone(port, "stateful")) }
	}
	classes := func(want string) func(k *Table) error {
		return func(k *Table) error {
			got, err := k.Classes()
			if err == nil && fmt.Sprint(got) != want {
				err = fmt.Errorf("the classes are %v", got)
			}
			return err
		}
	}
	passing := func(n int) func(k *Table) error {
		return func(k *Table) error {
			got, err := k.Passing()
			if err == nil && len(got) != n {
				err = fmt.Errorf("passing are %v", got)
			}
			return err
		}
	}
	fenced := func(want bool) func(k *Table) error {
		return func(k *Table) error {
			got, err := k.Fenced()
			if err == nil && got != want {
				err = fmt.Errorf("it is fenced: %t", got)
			}
			return err
		}
	}
	pools := prefixes("10.42.0.0/16", "fd42::/64")
	masquerades := func(k *Table) error {
		for _, p := range pools {
			if is, err := k.Masquerades(p, nil); err != nil || !is {
				return errors.Join(err, fmt.Errorf("%s has no rule", p))
			}
		}
		return nil
	}
	unmasqueraded := func(k *Table) error {
		is, err := k.Masquerades(pools[0], nil)
		if is {
			err = fmt.Errorf("%s is said to have a rule", pools[0])
		}
		return err
	}
	opens := func(k *Table) error {
		if err := k.Open(); err != nil {
			return err
		}
		return passing(2)(k)
	}
	for name, tc := range map[string]struct {
		spoiled  bool // somebody has flushed the ruleset before
		do, done func(k *Table) error
	}{
		"Open":                     {false, func(k *Table) error { return k.adopt() }, passing(1)},
		"Join":                     {false, join("bth2"), classes("map[bth1:stateless bth2:stateful]")},
		"Join another class":       {false, join("bth1"), classes("map[bth1:stateful]")},
		"Leave":                    {false, func(k *Table) error { return k.Leave("bth1") }, classes("map[]")},
		"Classes":                  {false, classes("map[bth1:stateless]"), classes("map[bth1:stateless]")},
		"EnsureTable":              {false, func(k *Table) error { return k.EnsureTable() }, passing(1)},
		"EnsureTable of none":      {true, func(k *Table) error { return k.EnsureTable() }, classes("map[bth1:stateless]")},
		"SetFence to evidence":     {false, func(k *Table) error { return k.SetFence(false, nil) }, fenced(false)},
		"SetFence to the same":     {false, func(k *Table) error { return k.SetFence(true, long()) }, passing(1)},
		"Fenced":                   {false, fenced(true), fenced(true)},
		"Passing":                  {false, passing(1), passing(1)},
		"TryFence":                 {false, func(k *Table) error { return k.TryFence() }, passing(1)},
		"Arm":                      {false, func(k *Table) error { return k.Arm(long()) }, opens},
		"Arm without a table":      {true, func(k *Table) error { return k.Arm(long()) }, opens},
		"Open after an Arm":        {false, func(k *Table) error { return k.Open() }, passing(2)},
		"CloseAll":                 {false, func(k *Table) error { return k.CloseAll() }, passing(0)},
		"CloseAll without a table": {true, func(k *Table) error { return k.CloseAll() }, passing(0)},
		"Masquerade":               {false, func(k *Table) error { return k.Masquerade(pools, nil) }, masquerades},
		"Masquerades":              {false, unmasqueraded, unmasqueraded},
	} {
		t.Run(name, func(t *testing.T) {
			try := func(n int, heard, forGood bool) (broken bool) {
				k, host := newHost(t)
				must(t, k.Join(anyone("bth1", "stateless")))
				must(t, k.SetFence(true, only("stateless", time.Hour)))
				must(t, k.Arm(long()))
				if tc.spoiled {
					flush(host)
				}
				w := breakAt(t, k, host, n, heard, forGood)
				err := tc.do(k)
				k.home = w.home
				k.close()
				what := fmt.Sprintf("exchange %d fails, heard: %t, for good: %t", n, heard, forGood)
				switch {
				case !w.broken && err != nil:
					t.Errorf("with all its exchanges: %v", err)
				case w.broken && forGood && err == nil:
					t.Errorf("%s: it says that it is done", what)
				case err == nil:
					if err := tc.done(k); err != nil {
						t.Errorf("%s: it says that it is done, and %v", what, err)
					}
				}
				return w.broken
			}
			n := 1
			for ; try(n, false, false); n++ {
				try(n, true, false)
				try(n, false, true)
			}
			if n == 1 {
				t.Error("it has no exchange with the kernel")
			}
		})
	}
}

func TestEachChangeIsOneExchangeWithTheKernelAndNoneWhereAllIsAsItIsWanted(t *testing.T) {
	k, host := newHost(t)
	must(t, k.Join(anyone("bth1", "stateless")))
	w := breakAt(t, k, host, 0, false, false)
	must(t, k.Join(anyone("bth1", "stateless")))
	must(t, k.Leave("bth2"))
	if w.passed > 0 {
		t.Errorf("%d requests were sent", w.passed)
	}
	must(t, k.Join(anyone("bth2", "stateful")))
	must(t, k.Leave("bth1"))
	if w.passed != 2 {
		t.Errorf("a port more and one less take %d exchanges, want 2", w.passed)
	}
	must(t, k.Arm(long()))
	must(t, k.Open())
	must(t, k.CloseAll())
	if w.passed != 5 {
		t.Errorf("a proof and the end of all take %d exchanges, want 3", w.passed-2)
	}
}

func TestATableOfWhichSomethingCannotBeReadIsNotTakenOver(t *testing.T) {
	for _, strict := range []bool{false, true} {
		broken := true
		for n := 1; broken; n++ {
			k, host := newHost(t)
			must(t, k.SetFence(strict, long()))
			next := &Table{connection: connection{home: host.Open(), ours: &Senders{}}, members: map[string]Member{}}
			w := breakAt(t, next, host, n, false, false)
			err := next.adopt()
			if broken = w.broken; broken != (err != nil) {
				t.Errorf("strict mode: %t; exchange %d fails: %t, and the error is %v", strict, n, broken, err)
			}
			next.Close()
		}
	}
}
