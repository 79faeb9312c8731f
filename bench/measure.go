package main

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/berth-ipam/berth/e2e/lab"
	"github.com/berth-ipam/berth/internal/sandbox"
)

// turn is how many containers each caller adds, and then deletes, before it is the next contender's turn.
const turn = 4

// pause lets the kernel and the agent end what a turn has left them to do, so that it does not fall on the next one.
const pause = 50 * time.Millisecond

// A runway is the node with network namespaces that the containers of all contenders use in turn, so that the kernel's
// work of making and removing them is not measured.
type runway struct {
	node       *lab.Node
	namespaces []string
}

func newRunway(node *lab.Node, callers int) (*runway, error) {
	r := &runway{node: node}
	for i := range callers * turn {
		path := filepath.Join("/run/netns", fmt.Sprintf("bench%d", i))
		if err := sandbox.Namespace(path); err != nil {
			return nil, err
		}
		r.namespaces = append(r.namespaces, path)
	}
	return r, nil
}

// A series is what was measured of one contender and verb.
type series struct {
	took []time.Duration
	wall time.Duration // in which all of it was done
}

func (s *series) quantile(q float64) time.Duration {
	slices.Sort(s.took)
	return s.took[max(int(math.Ceil(q*float64(len(s.took)))), 1)-1]
}

func (s *series) perSecond() float64 { return float64(len(s.took)) / s.wall.Seconds() }

// A part is all that was measured with one number of callers.
type part struct {
	callers int
	series  map[key]*series
}

type key struct{ network, verb string }

func keyOf(c *contender, verb string) key { return key{c.config["name"].(string), verb} }

// measure gives each contender at least so many containers, turn by turn; who is first changes from round to round.
func (r *runway) measure(ctx context.Context, pairs []pair, callers, containers int) (part, error) {
	p := part{callers, map[key]*series{}}
	var all []*contender
	for i := range pairs {
		all = append(all, &pairs[i].berth, &pairs[i].peer)
	}
	for round := -1; round*callers*turn < containers; round++ {
		for i := range all {
			c := all[(i+max(round, 0))%len(all)]
			took, err := r.turn(ctx, c, callers, fmt.Sprintf("%s-%d-%d", c.config["name"], callers, round+1))
			if err != nil {
				return part{}, err
			}
			if round < 0 {
				continue // each has had its programs read from the disk and its bridge made
			}
			for verb, s := range took {
				k := keyOf(c, verb)
				if p.series[k] == nil {
					p.series[k] = &series{}
				}
				p.series[k].took = append(p.series[k].took, s.took...)
				p.series[k].wall += s.wall
			}
		}
	}
	return p, nil
}

// turn adds the containers of all callers, then deletes them.
func (r *runway) turn(ctx context.Context, c *contender, callers int, name string) (map[string]*series, error) {
	containers := make([]container, callers*turn)
	for i := range containers {
		containers[i] = container{id: fmt.Sprintf("%s-%d", name, i), netns: r.namespaces[i]}
	}
	done := map[string]*series{}
	for _, verb := range []string{"ADD", "DEL"} {
		time.Sleep(pause)
		s := &series{took: make([]time.Duration, len(containers))}
		began := time.Now()
		var group errgroup.Group
		for caller := range callers {
			// The runtime is in the node's namespace, and so are the programs that it starts.
			group.Go(func() error {
				return sandbox.Within(r.node.Netns(), func() (err error) {
					for i := caller * turn; i < (caller+1)*turn && err == nil; i++ {
						s.took[i], err = c.run(ctx, verb, &containers[i])
					}
					return err
				})
			})
		}
		if err := group.Wait(); err != nil {
			return nil, err
		}
		s.wall = time.Since(began)
		done[verb] = s
	}
	return done, nil
}
