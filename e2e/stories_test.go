package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-ipam/berth/e2e/faults/check"
	"github.com/berth-ipam/berth/e2e/lab"
	"github.com/berth-ipam/berth/internal/sandbox"
	"github.com/berth-ipam/berth/internal/wire"
)

// storiesIn in the environment is how many times each story is told in each mode of fencing: 100, say.
const storiesIn = "BERTH_STORIES"

// The session is long beside a restart of an agent, also on a machine with much to do: what is absent for longer may be taken.
const storiesPool = `settings:
  fencing: %s
  session: 6s
  addressLease: 12s
` + onePool

// A story is told again and again, with delays at random, on a lab that other stories share: on the wire no address is ever
// live twice, no container that was answered is lost, and none that lives is let go of.
type story struct {
	name string
	tell func(*teller) error
}

// The stories, each with the node that it disrupts; the last node is every story's haven, where nothing is disrupted.
var stories = []story{
	{"a full run directory", (*teller).fullRunDirectory},
	{"a repeated ADD against settling", (*teller).addAgainstSettling},
	{"a lost journal with long names", (*teller).lostJournal},
	{"a late DEL", (*teller).lateDelete},
	{"a namespace that vanished", (*teller).vanishedNamespace},
}

// A teller tells one story.
type teller struct {
	t     *testing.T
	ctx   context.Context
	lab   *lab.Lab
	tower *tower
	node  *lab.Node
	haven *lab.Node
	round string // names what this round makes
	// strict: no address is live twice whatever becomes of agents
	strict bool
}

func TestStoriesOfSettlingKeepEveryAddressOnce(t *testing.T) {
	times := 1
	if text := os.Getenv(storiesIn); text != "" {
		var err error
		if times, err = strconv.Atoi(text); err != nil {
			t.Fatalf("%s: %v", storiesIn, err)
		}
	}
	for _, mode := range []string{"strict", "evidence"} {
		t.Run(mode, func(t *testing.T) {
			options := lab.Options{Nodes: len(stories) + 1, Gateways: []netip.Prefix{gateway}, Disk: 8 << 20}
			l := makeLab(t, options, fmt.Sprintf(storiesPool, mode))
			w := newTower(t, l)
			crowd(t, l, 1000)
			var telling sync.WaitGroup
			for i, s := range stories {
				telling.Go(func() {
					began, void := time.Now(), 0
					for n := range times {
						tell := &teller{t, t.Context(), l, w, l.Nodes[i], l.Nodes[len(stories)], fmt.Sprintf("s%d-%d", i, n), mode == "strict"}
						if err := s.tell(tell); err != nil && err.Error() == errVoid.Error() {
							void++
						} else if err != nil {
							t.Errorf("%s, round %d of %d: %v", s.name, n+1, times, err)
							return
						}
						if (n+1)%10 == 0 {
							t.Logf("%s: %d times in %v", s.name, n+1, time.Since(began).Round(time.Second))
						}
					}
					t.Logf("%s: %d times in %v; %d rounds tell nothing, since the machine was too slow", s.name, times,
						time.Since(began).Round(time.Second), void)
				})
			}
			telling.Wait()
		})
	}
}

// crowd makes that many reservations of members that run nowhere, so that settling takes its time.
func crowd(t *testing.T, l *lab.Lab, many int) {
	t.Helper()
	for i := range many {
		address := fmt.Sprintf("10.42.%d.%d", 8+i/250, 2+i%250)
		identity := map[string]string{"namespace": "crowd", "app": "db", "member": fmt.Sprint("m-", i), "network": "berth", "interface": "eth0"}
		reservation, err := json.Marshal(map[string]any{"identity": identity, "epoch": 1, "since": time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		record := fmt.Sprintf(`{"pool":"default","addresses":[%q]}`, address)
		for key, value := range map[string]string{
			"reservations/default/" + address: string(reservation), fmt.Sprintf("identities/berth/crowd/db/m-%d/eth0", i): record,
		} {
			if _, err := l.Etcd.Client().Put(t.Context(), "/berth/v1/"+key, value); err != nil {
				t.Fatal(err)
			}
		}
	}
}

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
		Operation: wire.Delete, Started: int64(wire.Boottime()),
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
