package faults

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/berth-ipam/berth/e2e/faults/check"
)

// lateDel moves a member, with its container's ID, away from a node that is cut off; the DEL there is settled when the
// node is back, and speaks of the attachment's former epoch. Nobody else may get the member then.
func lateDel(s *stage, round int) error {
	n := s.w.nodes
	here, there, third := n[round%3], n[(round+1)%3], n[(round+2)%3]
	first, err := s.added(here, member(round), 10*time.Second)
	if err != nil {
		return err
	}
	back, err := s.cutOff(here)
	if err != nil {
		return err
	}
	second, err := s.twin(first, there)
	if err == nil {
		err = s.insist(second, 20*time.Second)
	}
	if err != nil {
		return errors.Join(err, back())
	}
	if err := errors.Join(s.end(first), back()); err != nil {
		return err
	}
	// Until the node's session is long back, since who takes from a node that is away is right.
	s.hold(2*(s.w.rules.Session+2*time.Second)+2*time.Second, second)
	other, err := s.w.make(third, member(round))
	if err != nil {
		return err
	}
	if !s.refusedFor(other, 2*time.Second) {
		s.hold(2*time.Second, second, other)
	}
	return s.end(other, second)
}

// killAfterAnswer kills an agent at once after it has answered an ADD, and starts it again. The containers stay until
// the end, where each must be there.
func killAfterAnswer(s *stage, round int) error {
	h := s.w.nodes[round%len(s.w.nodes)]
	i, err := s.w.make(h, []string{"", member(round % s.w.size.Members)}[round%2])
	if err != nil {
		return err
	}
	s.w.places = append(s.w.places, &place{w: s.w, current: i})
	kill := func() error {
		err := s.w.add(s.ctx, i)
		return errors.Join(h.Kill(), err)
	}
	return s.w.without(s.ctx, KillAgent, h, kill, func() error { return nil })
}

// takeAtOnce revokes the session of a node that is cut off and cannot know it, so that its right lasts although its
// session is gone, and starts its members elsewhere at once.
func takeAtOnce(s *stage, round int) error {
	n := s.w.nodes
	here, there := n[round%3], n[(round+1)%3]
	members := s.w.size.Members / 2
	former, next := make([]*instance, members), make([]*instance, members)
	err := s.all(members, func(i int) (err error) {
		former[i], err = s.added(here, member(i), 10*time.Second)
		return err
	})
	if err != nil {
		return err
	}
	back, err := s.cutOff(here)
	if err != nil {
		return err
	}
	err = s.revoke(s.ctx, here)
	if err == nil {
		err = s.all(members, func(i int) (err error) {
			next[i], err = s.added(there, member(i), 4*s.w.rules.Session)
			return err
		})
	}
	s.hold(time.Second, append(former, next...)...)
	err = errors.Join(err, back())
	return errors.Join(err, s.end(append(former, next...)...))
}

// comeBack keeps a node away for longer than its right, while others use up the pool and so its blocks too. Most of its
// own containers end meanwhile, so that it believes their addresses to be free; some stay, so that it gives no block
// back. It is asked for addresses the whole time.
func comeBack(s *stage, round int) error {
	n := s.w.nodes
	here, there := n[round%3], n[(round+1)%3]
	former, err := s.fill(here, 6)
	if err != nil {
		return err
	}
	back, err := s.cutOff(here)
	if err != nil {
		return err
	}
	stay := former[:2]
	err = s.end(former[2:]...)
	others := s.exhaust(there, s.w.rules.AddressLease*5/2)
	ctx, stop := context.WithTimeout(s.ctx, 8*time.Second)
	defer stop()
	late := make([]*instance, 4)
	var asked = make(chan error, 1)
	go func() {
		asked <- s.all(len(late), func(i int) (err error) {
			late[i], err = s.w.make(here, "")
			for err == nil && ctx.Err() == nil && s.w.add(ctx, late[i]) != nil {
				s.sleep(20 * time.Millisecond)
			}
			return err
		})
	}()
	s.sleep(time.Second)
	err = errors.Join(err, back(), <-asked)
	s.hold(8*time.Second, append(others, late...)...) // longer than a node that is back is excused on a slow machine
	return errors.Join(err, s.end(slices.Concat(others, late, stay)...))
}

// stall stops an agent in the midst of ADDs, for longer than all rights. Others get what it had chosen. Then it goes
// on, and a busy kernel keeps the ADDs under way until it has come back to the cluster.
func stall(s *stage, round int) error {
	n := s.w.nodes
	here, there := n[round%3], n[(round+1)%3]
	former, err := s.fill(here, 2)
	if err != nil {
		return err
	}
	stalled := make([]*instance, 4)
	for i := range stalled {
		if stalled[i], err = s.w.make(here, []string{"", member(i)}[i%2]); err != nil {
			return err
		}
	}
	here.mu.Lock()
	defer here.mu.Unlock()
	added := make(chan error, 1)
	go func() {
		added <- s.all(len(stalled), func(i int) error { return s.w.addSlowly(s.ctx, stalled[i]) })
	}()
	s.chosen(here, stalled...)
	back := s.w.away(PauseAgent, here)
	err = here.Pause()
	s.sleep(s.w.rules.Session * 2)
	members := make([]*instance, len(stalled))
	_ = s.all(len(stalled), func(i int) (err error) {
		if stalled[i].member != "" {
			members[i], err = s.added(there, stalled[i].member, 4*s.w.rules.Session)
		}
		return err
	})
	others := append(members, s.exhaust(there, s.w.rules.AddressLease*3/2)...)
	jam, crowding := s.crowded()
	if crowding == nil {
		crowding = jam()
		s.sleep(20 * time.Millisecond) // the kernel begins a moment later
	}
	err = errors.Join(err, crowding, here.Resume())
	back()
	s.hold(6*time.Second, append(others, stalled...)...)
	<-added // those that started anew may have found nothing
	return errors.Join(err, s.end(append(append(others, stalled...), former...)...))
}

// follow moves a member, and leaves it there for longer than routes may take.
func follow(s *stage, round int) error {
	n := s.w.nodes
	for i, stay := range []time.Duration{time.Second, 6 * time.Second} {
		m, err := s.added(n[(round+i)%3], member(round), 10*time.Second)
		if err != nil {
			return err
		}
		s.hold(stay, m)
		if err := s.end(m); err != nil {
			return err
		}
	}
	return nil
}

// fill adds so many replicas on a host.
func (s *stage) fill(h *host, count int) ([]*instance, error) {
	all := make([]*instance, count)
	err := s.all(count, func(i int) (err error) {
		all[i], err = s.added(h, "", 20*time.Second)
		return err
	})
	return all, err
}

// exhaust adds replicas on a host until the pool has none left and so much time has passed, and gives those that were added.
func (s *stage) exhaust(h *host, within time.Duration) (all []*instance) {
	deadline := time.Now().Add(within)
	for len(all) < s.w.size.Replicas && s.ctx.Err() == nil {
		i, err := s.added(h, "", time.Until(deadline))
		if i != nil && err != nil {
			_ = s.w.del(s.ctx, i)
		}
		if err != nil {
			break
		}
		all = append(all, i)
	}
	return all
}

// addSlowly is an ADD that takes no turn from other requests, since it will not be answered for long.
func (w *world) addSlowly(ctx context.Context, i *instance) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	o := check.Operation{Verb: check.Add, Container: i.key, Node: i.host.Name, Member: i.member, MAC: i.mac, Begin: w.now()}
	_, err := i.Add(ctx)
	w.enter(o, err, i)
	return err
}
