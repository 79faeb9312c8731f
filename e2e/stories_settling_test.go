package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/berth-ipam/berth/internal/clock"
	"github.com/berth-ipam/berth/internal/sandbox"
	"github.com/berth-ipam/berth/internal/wire"
)

func (s *teller) fullRunDirectory() error {
	var all []*lodger
	err := s.onAFullDisk(&all)
	if !errors.Is(err, errVoid) {
		return err
	}
	errs := []error{err, s.node.Free()}
	if !s.node.Running() {
		errs = append(errs, s.node.Launch())
	}
	errs = append(errs, s.node.AwaitReady(s.ctx))
	for _, c := range all {
		errs = append(errs, c.Delete(s.ctx))
	}
	return errors.Join(errs...)
}

// onAFullDisk: the agent restarts, once or several times, on a full disk, and etcd attaches its member by an epoch that
// its journal does not know.
func (s *teller) onAFullDisk(all *[]*lodger) error {
	member := s.round
	c, err := s.added(s.node, member)
	if err != nil {
		return err
	}
	plain, err := s.added(s.node, "", "BERTH_NAMESPACE", "shop", "BERTH_APP", "web")
	if err != nil {
		return err
	}
	*all = []*lodger{c, plain}
	if err := errors.Join(s.node.Kill(), s.node.Fill()); err != nil {
		return err
	}
	for range 1 + rand.IntN(3) {
		if err := errors.Join(s.raise(c.Address), s.node.Launch()); err != nil {
			return err
		}
		if err := s.notElsewhere(c, member, rand.N(1500*time.Millisecond)); err != nil {
			return err
		}
		if err := s.node.Kill(); err != nil {
			return err
		}
	}
	if err := s.node.Launch(); err != nil {
		return err
	}
	for _, one := range []*lodger{c, plain} {
		if err := s.lives(one); err != nil {
			return err
		}
	}
	if err := s.notElsewhere(c, member, 300*time.Millisecond); err != nil {
		return err
	}
	if err := s.moves(c, member); err != nil { // DEL goes on, and etcd learns of it
		return err
	}
	if err := errors.Join(s.node.Free(), s.node.AwaitReady(s.ctx)); err != nil {
		return err
	}
	return plain.Delete(s.ctx)
}

// addAgainstSettling: a member has moved while its former node had no agent; when that is back, ADD of the former container is
// repeated all the while.
func (s *teller) addAgainstSettling() error {
	member := s.round
	c, err := s.added(s.node, member)
	if err != nil {
		return err
	}
	if err := s.node.Kill(); err != nil {
		return err
	}
	if err := s.lab.Etcd.Revoke(s.ctx, s.node.Name); err != nil {
		return err
	}
	next, err := s.added(s.haven, member)
	if err != nil {
		return err
	}
	if next.Address != c.Address {
		return fmt.Errorf("%s has %v elsewhere: want %v", member, next.Address, c.Address)
	}
	if err := s.node.Launch(); err != nil {
		return err
	}
	again, cancel := context.WithCancel(s.ctx)
	var adding sync.WaitGroup
	for range 3 {
		adding.Go(func() {
			for again.Err() == nil {
				_, _ = c.Container.Add(again)
				s.pause(50 * time.Millisecond)
			}
		})
	}
	defer adding.Wait()
	defer cancel()
	for end := time.Now().Add(time.Second + rand.N(time.Second)); time.Now().Before(end); s.pause(100 * time.Millisecond) {
		s.tower.watcher.Mind(c.Address)
	}
	if rand.IntN(2) == 0 {
		err = errors.Join(s.node.Kill(), s.node.Launch())
	}
	if err = errors.Join(err, s.node.AwaitReady(s.ctx)); err != nil {
		return err
	}
	settled := s.tower.now() // by evidence the former one may be heard until now: its node had no agent
	for end := time.Now().Add(rand.N(time.Second)); time.Now().Before(end); s.pause(100 * time.Millisecond) {
		s.tower.watcher.Mind(c.Address)
	}
	cancel()
	adding.Wait()
	address := c.Address
	err = errors.Join(s.tower.speaks(s.ctx, address, next.mac), next.Check(s.ctx), s.tower.heardSince(address, c.mac, settled))
	if s.strict {
		err = errors.Join(err, s.tower.twice(address))
	}
	return errors.Join(err, c.Delete(s.ctx), s.tower.speaks(s.ctx, address, next.mac), next.Delete(s.ctx))
}

// lostJournal: containers run on whose names are too long for a link's alias, and their agent's journal is lost, and lost again
// while it settles.
func (s *teller) lostJournal() error {
	pad := func(name string) string { return name + strings.Repeat("x", 253-len(name)) }
	member := pad(s.round)
	long := []string{"BERTH_NAMESPACE", pad("shop"), "BERTH_APP", pad("db")}
	c, err := s.added(s.node, "", append(long, "BERTH_CLASS", "stateful", "BERTH_MEMBER", member)...)
	if err != nil {
		return err
	}
	plain, err := s.added(s.node, "", long...)
	if err != nil {
		return err
	}
	for range 1 + rand.IntN(3) {
		if err := errors.Join(s.node.Kill(), os.Remove(filepath.Join(s.node.RunDir(), "journal")), s.node.Launch()); err != nil &&
			!errors.Is(err, os.ErrNotExist) {
			return err
		}
		s.tower.watcher.Mind(c.Address, plain.Address)
		s.pause(time.Second)
	}
	if err := s.node.AwaitReady(s.ctx); err != nil {
		return err
	}
	elsewhere, err := s.lodger(s.haven, "", append(long, "BERTH_CLASS", "stateful", "BERTH_MEMBER", member)...)
	if err != nil {
		return err
	}
	defer elsewhere.Remove()
	if err := s.starts(elsewhere, c); errors.Is(err, errVoid) {
		return errors.Join(err, c.Delete(s.ctx), plain.Delete(s.ctx))
	} else if err != nil {
		return err
	}
	return errors.Join(s.lives(c), s.lives(plain), c.Delete(s.ctx), plain.Delete(s.ctx))
}

// lateDelete: a DEL that began before an ADD was repeated arrives around its answer, or long after.
func (s *teller) lateDelete() error {
	member := ""
	if rand.IntN(2) == 0 {
		member = s.round
	}
	c, err := s.added(s.node, member)
	if err != nil {
		return err
	}
	late := &wire.Request{
		Operation: wire.Delete, Started: int64(clock.Boottime()),
		Containers: wire.Containers{{Network: c.Network.Name, ID: c.ID, Interface: c.Interface}},
	}
	deleted := make(chan error, 1)
	go func() {
		s.pause(150 * time.Millisecond)
		_, err := wire.Call(s.ctx, s.node.Socket(), time.Second, late, nil)
		deleted <- err
	}()
	s.pause(50 * time.Millisecond)
	_, err = c.Container.Add(s.ctx)
	if err = errors.Join(err, <-deleted); err != nil {
		return err
	}
	return errors.Join(s.lives(c), c.Delete(s.ctx))
}

// vanishedNamespace: a container's namespace goes and is made anew, and ADD of the same container is repeated at once.
func (s *teller) vanishedNamespace() error {
	c, err := s.added(s.node, "")
	if err != nil {
		return err
	}
	if err := errors.Join(sandbox.Remove(c.Netns), sandbox.Namespace(c.Netns)); err != nil {
		return err
	}
	s.pause(5 * time.Millisecond)
	if _, err := c.Container.Add(s.ctx); err != nil {
		return fmt.Errorf("the repeated ADD: %w", err)
	}
	address := c.Address
	s.pause(time.Second) // evidence of the former namespace's end may still be on its way
	if err := s.lives(c); err != nil {
		return err
	}
	if c.Address != address {
		return fmt.Errorf("it has %v, and was answered %v", c.Address, address)
	}
	return c.Delete(s.ctx)
}
