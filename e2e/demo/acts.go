package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/berth-ipam/berth/e2e/lab"
)

func (s *story) moveMembers(ctx context.Context) error {
	s.act("Members of the stateful app move: deleted here, created there, the same address")
	for i, old := range s.db {
		had, target := old.All, s.lab.Nodes[(i+1)%3]
		if err := old.Delete(ctx); err != nil {
			return err
		}
		moved, err := s.addMember(ctx, i, target)
		if err != nil {
			return err
		}
		s.db[i] = moved
		s.claim(same(words(had), words(moved.All)), "db-%d moved from %s to %s and kept %s", i, old.Node.Name, target.Name, words(had))
		watcher := s.web[i] // on the node that the member has left
		for _, address := range had {
			ping, err := watcher.Ping(address)
			if err == nil && ping.Took > time.Second {
				err = fmt.Errorf("it took %v", ping.Took)
			}
			s.claim(err, "%s on %s reaches it there at once: %.1f ms", watcher.ID, watcher.Node.Name, 1000*ping.Took.Seconds())
		}
	}
	return nil
}

func (s *story) replaceReplicas(ctx context.Context) error {
	s.act("Replicas of the stateless app are replaced on n1: their app gets its addresses again")
	var replaced []*lab.Container
	before := []*lab.Container{s.web[0], s.web[3]}
	had := addresses(before)
	for _, old := range before {
		if err := old.Delete(ctx); err != nil {
			return err
		}
	}
	for range before {
		replica, err := s.addReplica(ctx, s.lab.Nodes[0])
		if err != nil {
			return err
		}
		replaced = append(replaced, replica)
	}
	s.web[0], s.web[3] = replaced[0], replaced[1]
	s.claim(same(had, addresses(replaced)), "two new replicas have the addresses that two old ones left: %s", had)
	return nil
}

func (s *story) killAnAgent(ctx context.Context) error {
	s.act("The agent of n2 is killed with SIGKILL")
	node, kept, gone := s.lab.Nodes[1], s.web[1], s.web[4]
	if err := node.Kill(); err != nil {
		return err
	}
	s.claimEveryPair("without it everyone still reaches everyone")
	err := gone.Delete(ctx)
	s.claim(err, "%s is deleted meanwhile: DEL leaves a note for the agent", gone.ID)
	s.web = slices.Delete(s.web, 4, 5)
	begin := time.Now()
	if err := node.Start(ctx); err != nil {
		return err
	}
	s.claim(nil, "started again, it is ready after %d ms", time.Since(begin).Milliseconds())
	had := words(kept.All)
	if _, err := kept.Add(ctx); err != nil {
		return err
	}
	s.claim(same(had, words(kept.All)), "it knows what it had answered: ADD of %s again gives %s again", kept.ID, had)
	s.claim(kept.Check(ctx), "and CHECK finds all of it in place")
	replica, err := s.addReplica(ctx, node)
	if err != nil {
		return err
	}
	s.web = append(s.web, replica)
	s.claim(s.distinct(), "a new replica has %s, which nobody else has", words(replica.All))
	return nil
}

func (s *story) showState(ctx context.Context) error {
	s.act("What people see")
	if err := s.published(ctx); err != nil {
		return err
	}
	for _, words := range []string{"get assignments", "get reservations", "version"} {
		answer, err := s.lab.Nodes[0].Berthctl(ctx, strings.Fields(words)...)
		if err != nil {
			return err
		}
		s.say("berthctl %s", words)
		s.quote(answer)
	}
	keys, err := s.lab.Etcd.Get(ctx, "/berth/v1/")
	if err != nil {
		return err
	}
	s.say("etcdctl get --prefix /berth/v1/ has %d keys. Two of them:", len(keys))
	for _, c := range []*lab.Container{s.db[0], s.web[0]} {
		key, value := find(keys, c)
		s.quote(key + "\n" + value)
		s.claim(present(key), "etcd says that %v belongs to %s", c.Address, c.ID)
	}
	return s.showMetrics(ctx)
}

// published waits until etcd shows what was answered: stateless ADDs are published after their answer.
func (s *story) published(ctx context.Context) error {
	return lab.Eventually(ctx, "etcd shows every container", func() error {
		keys, err := s.lab.Etcd.Get(ctx, "/berth/v1/")
		for _, c := range s.all() {
			if key, _ := find(keys, c); key == "" {
				err = errors.Join(err, fmt.Errorf("%s with %v is not there", c.ID, c.Address))
			}
		}
		return err
	})
}

func find(keys map[string]string, c *lab.Container) (key, value string) {
	for _, kind := range []string{"assignments", "reservations"} {
		key := "/berth/v1/" + kind + "/default/" + c.Address.String()
		if value, ok := keys[key]; ok && strings.Contains(value, c.ID) {
			return key, value
		}
	}
	return "", ""
}

func (s *story) showMetrics(ctx context.Context) error {
	s.say("curl http://127.0.0.1:9473/metrics, in part")
	_, body, err := s.lab.Nodes[0].HTTP(ctx, "/metrics")
	if err != nil {
		return err
	}
	for line := range strings.Lines(body) {
		for _, name := range []string{"berth_attachments", "berth_configuration_", "berth_right_", "berth_requests_total"} {
			if strings.HasPrefix(line, name) {
				s.quote(line)
			}
		}
	}
	held := 0
	for _, c := range s.all() {
		if c.Node == s.lab.Nodes[0] {
			held++
		}
	}
	count, err := s.lab.Nodes[0].Metric(ctx, "berth_attachments")
	if err == nil {
		err = same(float64(held), count)
	}
	s.claim(err, "n1 counts %d attachments", held)
	return nil
}

func (s *story) deleteEverything(ctx context.Context) error {
	s.act("Everything is deleted")
	for _, c := range s.all() {
		if err := c.Delete(ctx); err != nil {
			return err
		}
	}
	clean := lab.Eventually(ctx, "nothing is left", func() error {
		census, err := s.lab.Census(ctx)
		if left := census.Left(); err == nil && len(left) > 0 {
			err = errors.New(left[0])
		}
		return err
	})
	s.claim(clean, "no assignment in etcd, no attachment in a journal, no port in a kernel is left")
	keys, err := s.lab.Etcd.Get(ctx, "/berth/v1/reservations/")
	if err == nil {
		err = same(len(s.db)*len(s.family.cidrs), len(keys))
	}
	s.claim(err, "the %d reservations stay, for when their members come back", len(keys))
	return nil
}

func same[T comparable](want, got T) error {
	if want != got {
		return fmt.Errorf("it is %v and should be %v", got, want)
	}
	return nil
}

func present(key string) error {
	if key == "" {
		return errors.New("no key says so")
	}
	return nil
}
