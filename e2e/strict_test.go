package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/berth-ipam/berth/e2e/faults/check"
	"github.com/berth-ipam/berth/e2e/faults/watch"
	"github.com/berth-ipam/berth/e2e/lab"
	"github.com/berth-ipam/berth/e2e/lab/labtest"
)

// right is the session of the tests of rights: what a stateful container has without etcd.
const right = 3 * time.Second

const strictPool = `settings:
  fencing: strict
  session: 3s
  addressLease: 6s
` + onePool

// A witness hears who has an address, on the switch.
type witness struct {
	mu    sync.Mutex
	began time.Time
	first map[check.MAC]time.Duration
	last  map[check.MAC]time.Duration
}

// witnesses asks the network twenty times a second who has the addresses, until the test ends.
func witnesses(t *testing.T, l *lab.Lab, addresses ...netip.Addr) *witness {
	t.Helper()
	w := &witness{began: time.Now(), first: map[check.MAC]time.Duration{}, last: map[check.MAC]time.Duration{}}
	path := filepath.Join("/run/netns", l.NextID())
	if err := watch.Plug("switch", path); err != nil {
		t.Fatal(err)
	}
	watcher, err := watch.New(path, watch.Neighbours{}, w.now, w.hear)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var run sync.WaitGroup
	run.Go(func() { _ = watcher.Run(ctx) })
	run.Go(func() {
		for ctx.Err() == nil {
			watcher.Mind(addresses...)
			time.Sleep(time.Second)
		}
	})
	t.Cleanup(func() { cancel(); run.Wait() })
	return w
}

func (w *witness) now() time.Duration { return time.Since(w.began) }

func (w *witness) hear(s check.Sighting) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, heard := w.first[s.MAC]; !heard {
		w.first[s.MAC] = s.Sent
	}
	w.last[s.MAC] = s.At
}

// of is when a container was first and last heard; false: never.
func (w *witness) of(mac check.MAC) (first, last time.Duration, heard bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	first, heard = w.first[mac]
	return first, w.last[mac], heard
}

// told is a member of the app shop/db that the network can tell from others, by a MAC of its own.
func told(t *testing.T, node *lab.Node, l *lab.Lab, name string, mac check.MAC) *lab.Container {
	t.Helper()
	text := fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5])
	return container(t, node, l, "MAC", text, "BERTH_CLASS", "stateful", "BERTH_NAMESPACE", "shop", "BERTH_APP", "db", "BERTH_MEMBER", name)
}

// A loss takes a node's right away, and back restores the node.
type loss struct {
	how        string
	take, back func(l *lab.Lab, n *lab.Node) error
}

var heal = func(l *lab.Lab, n *lab.Node) error { return l.Heal() }

var losses = []loss{
	{"agent killed", func(_ *lab.Lab, n *lab.Node) error { return n.Kill() }, func(_ *lab.Lab, n *lab.Node) error { return n.Launch() }},
	{"agent ended", func(_ *lab.Lab, n *lab.Node) error { return n.Stop() }, func(_ *lab.Lab, n *lab.Node) error { return n.Launch() }},
	{"agent stopped", func(_ *lab.Lab, n *lab.Node) error { return n.Pause() }, func(_ *lab.Lab, n *lab.Node) error { return n.Resume() }},
	{"cut off from etcd", func(l *lab.Lab, n *lab.Node) error { return l.Partition(lab.Side{n.Name}, l.Etcd.Side()) }, heal},
	{"deaf to etcd", func(l *lab.Lab, n *lab.Node) error { return l.Cut(l.Etcd.Side(), lab.Side{n.Name}) }, heal},
	{"dumb to etcd", func(l *lab.Lab, n *lab.Node) error { return l.Cut(lab.Side{n.Name}, l.Etcd.Side()) }, heal},
}

// A moved member was on a node that was lost, and starts on another.
type moved struct {
	loss
	node           *lab.Node
	former, next   *lab.Container
	address        netip.Addr
	before, after  check.MAC
	lost, again    time.Duration // the loss's begin, and when ADD was answered elsewhere
	silent, speaks time.Duration // when the former one was heard last, and the next one first
}

func TestAStrictMemberFallsSilentWithItsRightAndSpeaksElsewhereOnlyAfter(t *testing.T) {
	l := newLab(t, len(losses)+1, strictPool)
	haven := l.Nodes[len(losses)]
	var all []*moved
	var addresses []netip.Addr
	for i, how := range losses {
		m := &moved{loss: how, node: l.Nodes[i], before: check.MAC{2, 0, 0, 0, 1, byte(i)}, after: check.MAC{2, 0, 0, 0, 2, byte(i)}}
		name := fmt.Sprint("db-", i)
		m.former, m.next = told(t, m.node, l, name, m.before), told(t, haven, l, name, m.after)
		labtest.Eventually(t, "the node has joined by the strict settings", func() error {
			_, err := m.former.Add(t.Context())
			return err
		})
		m.address = m.former.Address
		all, addresses = append(all, m), append(addresses, m.address)
	}
	w := witnesses(t, l, addresses...)
	for _, m := range all {
		w.awaits(t, m.before)
	}
	for _, m := range all {
		m.lost = w.now()
		if err := m.take(l, m.node); err != nil {
			t.Fatal(err)
		}
	}
	var moves sync.WaitGroup
	for _, m := range all {
		moves.Go(func() {
			err := lab.Eventually(t.Context(), "ADD of "+m.next.ID, func() error { _, err := m.next.Add(t.Context()); return err })
			if m.again = w.now(); err != nil || m.next.Address != m.address {
				t.Errorf("%s: elsewhere the member has %v, %v: want %v", m.how, m.next.Address, err, m.address)
			}
		})
	}
	moves.Wait()
	for _, m := range all {
		w.awaits(t, m.after)
		m.judge(t, w)
	}
	for _, m := range all {
		if err := m.back(l, m.node); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range all {
		labtest.Eventually(t, m.node.Name+" is back", func() error { return m.node.AwaitReady(t.Context()) })
		labtest.Eventually(t, "the member is reached where it is", func() error {
			if _, last, _ := w.of(m.after); w.now()-last > time.Second {
				return fmt.Errorf("%v is silent", m.address)
			}
			return nil
		})
		if _, last, _ := w.of(m.before); last > m.silent {
			t.Errorf("%s: %s was heard again at %v, after its node was back", m.how, m.former.ID, last)
		}
	}
}

func (m *moved) judge(t *testing.T, w *witness) {
	t.Helper()
	_, m.silent, _ = w.of(m.before)
	m.speaks, _, _ = w.of(m.after)
	t.Logf("%v, %s: lost at %v; %s on %s last heard at %v, %v later (its right is %v); ADD on %s answered at %v; %s first heard at %v",
		m.address, m.how, ms(m.lost), m.former.ID, m.node.Name,
		ms(m.silent), ms(m.silent-m.lost), right, m.next.Node.Name, ms(m.again), m.next.ID, ms(m.speaks))
	if m.silent > m.lost+right+grain {
		t.Errorf("%s: %s was heard %v after the loss: its right is %v", m.how, m.former.ID, m.silent-m.lost, right)
	}
	if m.silent > m.speaks {
		t.Errorf("%s: %s was heard at %v, %s from %v: one address is live twice", m.how, m.former.ID, m.silent, m.next.ID, m.speaks)
	}
}

func ms(d time.Duration) time.Duration { return d.Round(time.Millisecond) }

// grain is between two of the witness's questions, and what the loss itself took.
const grain = 500 * time.Millisecond

// awaits waits until a container is heard.
func (w *witness) awaits(t *testing.T, mac check.MAC) {
	t.Helper()
	labtest.Eventually(t, "a container speaks", func() error {
		if _, _, heard := w.of(mac); !heard {
			return fmt.Errorf("%x is silent", mac)
		}
		return nil
	})
}

func TestStrictFencingInterruptsNothingWhileAllIsWell(t *testing.T) {
	l := newLab(t, 2, onePool)
	mac := check.MAC{2, 0, 0, 0, 0, 3}
	c := told(t, l.Nodes[0], l, "db-0", mac)
	address := add(t, c)
	w := witnesses(t, l, address)
	var longest time.Duration
	watchFor := func(what string, while time.Duration, do func() error) {
		t.Helper()
		w.awaits(t, mac)
		done := make(chan error, 1)
		go func() { done <- do() }()
		longest = 0
		for end := time.Now().Add(while); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			_, last, _ := w.of(mac)
			longest = max(longest, w.now()-last)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		t.Logf("%s: the longest silence was %v", what, longest.Round(time.Millisecond))
		if longest > time.Second {
			t.Errorf("%s: it was silent for %v", what, longest)
		}
	}
	watchFor("strict mode begins", 6*time.Second, func() error { _, err := labtest.Apply(t, l, strictPool); return err })
	watchFor("the agent starts anew", 4*time.Second, func() error { return restart(t, l.Nodes[0].Stop, l.Nodes[0].Start) })
	watchFor("the agent is killed and starts anew", 4*time.Second, func() error { return restart(t, l.Nodes[0].Kill, l.Nodes[0].Start) })
}
