package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/berth-ipam/berth/e2e/faults/check"
	"github.com/berth-ipam/berth/e2e/lab"
)

// A lodger is a container of a story, with the MAC by which the network tells it from all others.
type lodger struct {
	*lab.Container
	mac check.MAC
}

// lodger makes one; with a member it is stateful.
func (s *teller) lodger(node *lab.Node, member string, args ...string) (*lodger, error) {
	mac := s.tower.mac()
	args = append(args, "MAC", fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]))
	if member != "" {
		args = append(args, "BERTH_CLASS", "stateful", "BERTH_NAMESPACE", "shop", "BERTH_APP", "db", "BERTH_MEMBER", member)
	}
	c, err := node.Container(s.lab.NextID(), lab.Berth(), args...)
	return &lodger{c, mac}, err
}

// added is one whose ADD was answered, and who is heard.
func (s *teller) added(node *lab.Node, member string, args ...string) (*lodger, error) {
	c, err := s.lodger(node, member, args...)
	if err == nil {
		err = lab.Eventually(s.ctx, "ADD of "+c.ID, func() error { _, err := c.Add(s.ctx); return err })
	}
	if err == nil {
		err = s.tower.speaks(s.ctx, c.Address, c.mac)
	}
	return c, err
}

// pause takes up to so long.
func (s *teller) pause(most time.Duration) { time.Sleep(rand.N(most)) }

// lives says what is wrong with a container that was answered.
func (s *teller) lives(c *lodger) error {
	if err := s.tower.speaks(s.ctx, c.Address, c.mac); err != nil {
		return err
	}
	if err := lab.Eventually(s.ctx, "CHECK of "+c.ID, func() error { return c.Check(s.ctx) }); err != nil {
		return err
	}
	return s.tower.twice(c.Address)
}

// errVoid says that a node was without a session for so long that its member could move: the round tells nothing.
var errVoid = errors.New("the machine was too slow for this round")

// session is the one that etcd has of a node, by the revision that made it; 0: none.
func (s *teller) session(node *lab.Node) int64 {
	found, err := s.lab.Etcd.Client().Get(s.ctx, "/berth/v1/sessions/"+node.Name)
	if err != nil || len(found.Kvs) == 0 {
		return 0
	}
	return found.Kvs[0].CreateRevision
}

// starts tries to start a member on the haven, whose container lives where it is: it must not while that node has a session.
func (s *teller) starts(other *lodger, c *lodger) error {
	before := s.session(c.Node)
	if _, err := other.Add(s.ctx); err != nil {
		return nil
	}
	if before == 0 || before != s.session(c.Node) {
		return errors.Join(errVoid, other.Delete(s.ctx))
	}
	err := s.tower.speaks(s.ctx, other.Address, other.mac)
	return errors.Join(fmt.Errorf("the member of %s starts elsewhere while it runs on %s", c.ID, c.Node.Name), err, s.tower.twice(c.Address))
}

// notElsewhere tries that for a while.
func (s *teller) notElsewhere(c *lodger, member string, while time.Duration) error {
	other, err := s.lodger(s.haven, member)
	if err != nil {
		return err
	}
	defer other.Remove()
	for end := time.Now().Add(while); time.Now().Before(end); {
		if err := s.starts(other, c); err != nil {
			return err
		}
		s.tower.watcher.Mind(c.Address)
		s.pause(200 * time.Millisecond)
	}
	return nil
}

// moves starts a member on the haven, once its container is deleted.
func (s *teller) moves(c *lodger, member string) error {
	address := c.Address
	if err := errors.Join(c.Del(s.ctx), c.Remove()); err != nil {
		return fmt.Errorf("DEL of %s: %w", c.ID, err)
	}
	next, err := s.added(s.haven, member)
	if err != nil {
		return err
	}
	if next.Address != address {
		return fmt.Errorf("%s has %v elsewhere: want %v", member, next.Address, address)
	}
	return errors.Join(s.tower.twice(address), next.Delete(s.ctx))
}

// raise lets etcd attach a member by a later epoch than the journal of its node knows.
func (s *teller) raise(address netip.Addr) error {
	key := "/berth/v1/reservations/default/" + address.String()
	found, err := s.lab.Etcd.Get(s.ctx, key)
	if err != nil {
		return err
	}
	var record map[string]any
	if err := json.Unmarshal([]byte(found[key]), &record); err != nil {
		return err
	}
	record["epoch"] = record["epoch"].(float64) + 1 + float64(rand.IntN(9))
	text, err := json.Marshal(record)
	if err == nil {
		_, err = s.lab.Etcd.Client().Put(s.ctx, key, string(text))
	}
	return err
}
