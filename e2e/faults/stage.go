package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/e2e/lab"
	"github.com/berth-ipam/berth/internal/sandbox"
)

// A stage is what the focused stories are told on.
type stage struct {
	*nemesis
	ctx    context.Context
	random *rand.Rand
}

func newStage(ctx context.Context, w *world, seed uint64) *stage {
	return &stage{nemesis: &nemesis{w: w}, ctx: ctx, random: rand.New(rand.NewPCG(seed, 3))}
}

func (s *stage) sleep(d time.Duration) {
	select {
	case <-s.ctx.Done():
	case <-time.After(d):
	}
}

// cutOff takes a host's way to etcd away, until the function is called.
func (s *stage) cutOff(h *host) (back func() error, err error) {
	etcd := s.w.lab.Etcd.Side()
	cuts := []cut{{lab.Side{h.Name}, etcd}, {etcd, lab.Side{h.Name}}}
	home := s.w.suffers(Partition, h.Name)
	err = s.cut(&cuts)
	return func() error { defer home(); return s.heal(&cuts) }, err
}

// added makes a container and adds it, again and again for so long.
func (s *stage) added(h *host, member string, within time.Duration) (*instance, error) {
	i, err := s.w.make(h, member)
	if err != nil {
		return nil, err
	}
	return i, s.insist(i, within)
}

// insist adds a container again and again for so long.
func (s *stage) insist(i *instance, within time.Duration) (err error) {
	for deadline := time.Now().Add(within); ; s.sleep(150 * time.Millisecond) {
		if err = s.w.add(s.ctx, i); err == nil || time.Now().After(deadline) || s.ctx.Err() != nil {
			return err
		}
	}
}

// twin makes a container with the same ID as another on another host, as one has that was moved with its state.
func (s *stage) twin(of *instance, h *host) (*instance, error) {
	t, err := s.w.make(h, of.member)
	if err != nil {
		return nil, err
	}
	if err := t.Remove(); err != nil {
		return nil, err
	}
	t.ID, t.key, t.Netns = of.ID, of.ID+"@"+h.Name, filepath.Join(scratch, of.ID+"@"+h.Name)
	if err := sandbox.Namespace(t.Netns); err != nil || s.w.mode.Subnet {
		return t, err
	}
	return t, s.w.mark(t)
}

// all does something for each number below n, at once.
func (s *stage) all(n int, do func(int) error) error {
	errs := make([]error, n)
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() { errs[i] = do(i) })
	}
	group.Wait()
	return errors.Join(errs...)
}

// end deletes containers; nil ones are skipped.
func (s *stage) end(all ...*instance) error {
	return s.all(len(all), func(i int) error {
		if all[i] == nil {
			return nil
		}
		return s.w.del(s.ctx, all[i])
	})
}

// crowd is how many pairs of links the kernel is to remove at once, to be busy for most of a second.
const crowd = 2500

// crowded makes a namespace of so many links that the kernel, once the function is called, holds the lock over all
// links for long: a request that makes a link waits meanwhile.
func (s *stage) crowded() (jam func() error, err error) {
	path := filepath.Join(scratch, "crowd")
	if err := sandbox.Namespace(path); err != nil {
		return nil, err
	}
	space, err := netns.GetFromPath(path)
	if err != nil {
		return nil, err
	}
	defer space.Close()
	handle, err := netlink.NewHandleAt(space, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	defer handle.Close()
	for i := range crowd {
		if err := handle.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: fmt.Sprintf("a%d", i)},
			PeerName: fmt.Sprintf("b%d", i)}); err != nil {
			return nil, err
		}
	}
	return func() error { return sandbox.Remove(path) }, nil
}

// chosen waits until an agent has chosen an address for one of the containers, and not answered.
func (s *stage) chosen(h *host, all ...*instance) bool {
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline) && s.ctx.Err() == nil; time.Sleep(time.Millisecond) {
		under := view{}
		if h.journalUnder(under) != nil {
			return false
		}
		for _, i := range all {
			if _, is := under[i.ID]; is {
				return true
			}
		}
	}
	return false
}

// member names one.
func member(number int) string { return fmt.Sprintf("db-%d", number) }

// refusedFor reports whether an ADD that must not go through did not, however often it is asked.
func (s *stage) refusedFor(i *instance, while time.Duration) bool { return s.insist(i, while) != nil }

// hold lets time pass in which the network is asked for some containers as often as it can be.
func (s *stage) hold(d time.Duration, all ...*instance) {
	for until := time.Now().Add(d); time.Now().Before(until) && s.ctx.Err() == nil; s.sleep(200 * time.Millisecond) {
		for _, i := range all {
			if i != nil {
				s.w.watcher.Mind(i.had...)
			}
		}
	}
}
