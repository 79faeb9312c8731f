package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	"golang.org/x/sync/errgroup"

	"github.com/berth-ipam/berth/e2e/lab"
)

const (
	population = 45 // containers that are there at a time
	members    = 12 // of the stateful app; every fifth ADD is of one
	parallel   = 16 // requests at a time
	codeLater  = 11 // CNI: try again later
)

// A load adds containers and deletes the oldest ones, on all nodes in turn, as runtimes do.
type load struct {
	lab  *lab.Lab
	rate int

	adds, dels, again atomic.Int64
	ran               time.Duration // of the last run
	ranAdds           int64         // in the last run

	mu     sync.Mutex
	number int
	there  int       // containers that live, and those whose ADD is under way
	live   []*living // in the order of their ADDs
	absent []string  // members of the stateful app that have no container
}

// A living container is one that has been added, and which member it is, if any.
type living struct {
	*lab.Container
	member string
}

func newLoad(l *lab.Lab, rate int) *load {
	load := &load{lab: l, rate: rate}
	for i := range members {
		load.absent = append(load.absent, fmt.Sprintf("db-%d", i))
	}
	return load
}

// run keeps up the rate for a while. It ends early with the first request that fails.
func (l *load) run(ctx context.Context, while time.Duration) error {
	began, adds := time.Now(), l.adds.Load()
	defer func() { l.ran, l.ranAdds = time.Since(began), l.adds.Load()-adds }()
	tick := time.NewTicker(time.Second / time.Duration(l.rate))
	defer tick.Stop()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for time.Since(began) < while {
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), group.Wait())
		case <-tick.C:
			group.Go(func() error { return l.turn(ctx) })
		}
	}
	return group.Wait()
}

// turn deletes the oldest container, when there are enough, and adds one.
func (l *load) turn(ctx context.Context) error {
	if oldest := l.surplus(); oldest != nil {
		if err := l.del(ctx, oldest); err != nil {
			return err
		}
	}
	return l.add(ctx)
}

// end deletes every container.
func (l *load) end(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for oldest := l.oldest(); oldest != nil; oldest = l.oldest() {
		group.Go(func() error { return l.del(ctx, oldest) })
	}
	return group.Wait()
}

// surplus counts one container more, and takes out the oldest when there are too many now.
func (l *load) surplus() *living {
	l.mu.Lock()
	l.there++
	many := l.there > population
	l.mu.Unlock()
	if !many {
		return nil
	}
	return l.oldest()
}

// oldest takes out the oldest container, if one lives.
func (l *load) oldest() *living {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.live) == 0 {
		return nil
	}
	c := l.live[0]
	l.live, l.there = l.live[1:], l.there-1
	return c
}

func (l *load) add(ctx context.Context) error {
	node, member, args := l.next()
	c, err := node.Container(l.lab.NextID(), lab.Berth(), args...)
	if err != nil {
		return err
	}
	for {
		_, err = c.Add(ctx)
		if failure, ok := errors.AsType[*types.Error](err); !ok || failure.Code != codeLater || ctx.Err() != nil {
			break
		}
		l.again.Add(1) // a runtime tries again, and so does this
		time.Sleep(50 * time.Millisecond)
	}
	if err != nil {
		return fmt.Errorf("ADD of %s %s on %s: %w", c.ID, member, node.Name, err)
	}
	l.adds.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.live = append(l.live, &living{c, member})
	return nil
}

// next says where the next container goes, and what it is.
func (l *load) next() (node *lab.Node, member string, args []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.number++
	node = l.lab.Nodes[l.number%len(l.lab.Nodes)]
	if l.number%5 == 0 && len(l.absent) > 0 {
		member, l.absent = l.absent[0], l.absent[1:]
		return node, member, []string{"BERTH_CLASS", "stateful", "BERTH_NAMESPACE", "shop", "BERTH_APP", "db", "BERTH_MEMBER", member}
	}
	return node, "", []string{"BERTH_NAMESPACE", "shop", "BERTH_APP", fmt.Sprintf("web-%d", l.number%3)}
}

func (l *load) del(ctx context.Context, c *living) error {
	if err := c.Delete(ctx); err != nil {
		return fmt.Errorf("DEL of %s %s on %s: %w", c.ID, c.member, c.Node.Name, err)
	}
	l.dels.Add(1)
	if c.member != "" {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.absent = append(l.absent, c.member)
	}
	return nil
}

// verdict is an error where the last run has added less than half of what it was to.
func (l *load) verdict() error {
	if reached := float64(l.ranAdds) / l.ran.Seconds(); reached < float64(l.rate)/2 {
		return fmt.Errorf("the load was %.1f ADDs a second: want %d, and half of that at least", reached, l.rate)
	}
	return nil
}
