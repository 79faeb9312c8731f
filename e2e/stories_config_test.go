package e2e

import (
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

	"github.com/berth-ipam/berth/e2e/lab"
)

// The stories of one change each; how often it was done is what they report.
var configurationStories = []struct {
	name string
	tell func(*teller) (int, error)
}{
	{"a gateway moves onto a holder", (*teller).gatewayOntoAHolder},
	{"a gateway moves onto a reservation", (*teller).gatewayOntoAReservation},
	{"a gateway moves onto a node's own address", (*teller).gatewayOntoANode},
	{"a range shrinks below a reservation", (*teller).rangeBelowAReservation},
}

// What a change of the configuration would take from who has it, it does not take: told again and again, with delays at
// random, in both modes of fencing. The wire says who has an address.
func TestStoriesOfGatewaysAndRangesTakeNothingFromWhoHasIt(t *testing.T) {
	times := 2
	if text := os.Getenv(storiesIn); text != "" {
		var err error
		if times, err = strconv.Atoi(text); err != nil {
			t.Fatalf("%s: %v", storiesIn, err)
		}
	}
	for _, mode := range []string{"strict", "evidence"} {
		t.Run(mode, func(t *testing.T) {
			l := makeLab(t, lab.Options{Nodes: 2, Gateways: []netip.Prefix{gateway}}, fmt.Sprintf(storiesPool, mode))
			w := newTower(t, l)
			did := map[string]int{}
			for n := range times {
				tell := &teller{t, t.Context(), l, w, l.Nodes[n%2], l.Nodes[(n+1)%2], fmt.Sprintf("c%d", n), mode == "strict"}
				for _, s := range configurationStories {
					done, err := s.tell(tell)
					if err != nil {
						t.Fatalf("%s, round %d of %d: %v", s.name, n+1, times, err)
					}
					did[s.name] += done
				}
			}
			t.Logf("%d rounds of each; what was asked for was done, since nobody had it any more or yet: %v", times, did)
		})
	}
}

// configure applies the pool with another gateway or range.
func (s *teller) configure(gateway netip.Addr, stateful netip.Prefix) (string, error) {
	path := filepath.Join(s.t.TempDir(), "pools.yaml")
	text := fmt.Sprintf("pools:\n  - name: default\n    cidrs: [10.42.0.0/16]\n    stateful: [%s]\n    gateways: [%s]\n", stateful, gateway)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return "", err
	}
	for {
		out, err := s.haven.Berthctl(s.ctx, "apply", "-f", path)
		if err == nil || !strings.Contains(err.Error()+out, "nothing was changed: berthd@") || s.ctx.Err() != nil {
			return out, err
		} // an agent has given a former gateway free just then
	}
}

var wholeRange = netip.MustParsePrefix("10.42.0.0/20")

// back applies the pool as it was at first.
func (s *teller) back() error {
	return lab.Eventually(s.ctx, "the pool is as it was", func() error {
		out, err := s.configure(gateway.Addr(), wholeRange)
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
}

// gatewayOntoAHolder moves the gateway onto a container's address, while the container is answered again, or goes. It reports
// how often the gateway has moved.
func (s *teller) gatewayOntoAHolder() (moved int, err error) {
	c, err := s.added(s.node, "", "BERTH_NAMESPACE", "shop", "BERTH_APP", "web")
	if err != nil {
		return 0, err
	}
	address, goes := c.Address, rand.IntN(2) == 0
	var applied, other error
	var out string
	var both sync.WaitGroup
	both.Go(func() { s.pause(300 * time.Millisecond); out, applied = s.configure(address, wholeRange) })
	both.Go(func() {
		s.pause(300 * time.Millisecond)
		if goes {
			other = c.Del(s.ctx)
		} else {
			_, other = c.Container.Add(s.ctx)
		}
	})
	both.Wait()
	switch {
	case other != nil:
		return 0, other
	case applied == nil && !goes:
		return 0, fmt.Errorf("the gateway has moved onto %s, which runs on %s at %v: %s", c.ID, s.node.Name, address, out)
	case applied != nil && !strings.Contains(applied.Error()+out, address.String()):
		return 0, fmt.Errorf("the refusal does not name %v: %w: %s", address, applied, out)
	case !goes:
		return 0, errors.Join(s.lives(c), c.Delete(s.ctx), s.back())
	}
	if applied == nil {
		moved = 1
		asks, err := s.lodger(s.haven, "", "IP", address.String()+"/16")
		if err != nil {
			return moved, err
		}
		if _, err := asks.Add(s.ctx); err == nil && asks.Address == address {
			return moved, fmt.Errorf("%v is the gateway, and is given to %s", address, asks.ID)
		}
		if err = asks.Delete(s.ctx); err != nil {
			return moved, err
		}
	}
	return moved, errors.Join(s.tower.twice(address), c.Remove(), s.back())
}

// rangeBelowAReservation halves the stateful range while a member starts in what the range is to lose. It reports how often it
// did.
func (s *teller) rangeBelowAReservation() (shrunk int, err error) {
	c, err := s.lodger(s.node, s.round)
	if err != nil {
		return 0, err
	}
	half := []netip.Prefix{netip.MustParsePrefix("10.42.0.0/21"), netip.MustParsePrefix("10.42.8.0/21")}[rand.IntN(2)]
	var applied, added error
	var out string
	var both sync.WaitGroup
	both.Go(func() { s.pause(300 * time.Millisecond); out, applied = s.configure(gateway.Addr(), half) })
	both.Go(func() {
		s.pause(300 * time.Millisecond)
		added = lab.Eventually(s.ctx, "ADD of "+c.ID, func() error { _, err := c.Add(s.ctx); return err })
	})
	both.Wait()
	if added != nil {
		return 0, added
	}
	outside := !half.Contains(c.Address)
	switch {
	case applied == nil && outside:
		return 0, fmt.Errorf("the stateful range has shrunk to %v below %v, which member %s has: %s", half, c.Address, s.round, out)
	case applied != nil && !strings.Contains(applied.Error()+out, "reserved for"):
		return 0, fmt.Errorf("the refusal names no reservation: %w: %s", applied, out)
	}
	if applied == nil {
		shrunk = 1
	}
	if err := s.lives(c); err != nil {
		return shrunk, err
	}
	if err := c.Delete(s.ctx); err != nil {
		return shrunk, err
	}
	_, released := s.haven.Berthctl(s.ctx, "release", "shop/db/"+s.round)
	return shrunk, errors.Join(released, s.back())
}
