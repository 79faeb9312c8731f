package sim

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/e2e/sim/etcd"
	"github.com/berth-ipam/berth/e2e/sim/order"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease"
	"github.com/berth-ipam/berth/lease/admin"
	"github.com/berth-ipam/berth/lease/config"
)

// A Result is what came of a run.
type Result struct {
	Violations []Violation
	Operations int            // answered ADDs and DELs, applied configurations, faults
	Counts     map[string]int // what came of each kind of step
	Events     int            // changes in etcd
	Trace      string         // a hash of all that happened
	Virtual    time.Duration
}

// Run carries a plan out, lets the cluster settle, and judges what is left.
func Run(o Options, plan Plan) (Result, error) {
	c := newCluster(o)
	defer c.close()
	if err := c.begin(); err != nil {
		return Result{}, err
	}
	c.converge(time.Minute, "the agents are ready", c.ready)
	first := c.now()
	c.watches.Go(c.judge.patrol)
	c.watches.Go(func() { order.Collect(c.going) })
	for _, s := range plan {
		time.Sleep(time.Until(c.began.Add(first + s.At)))
		if !c.going() {
			break
		}
		c.work.Go(func() {
			ended := c.calm.disturbed(s)
			c.finished(s, deeds[s.Do](c, s))
			ended()
		})
	}
	if c.going() {
		c.work.Wait()
	}
	if c.going() {
		c.settle()
	}
	events, trace := c.observer.sum()
	c.mu.Lock()
	defer c.mu.Unlock()
	r := Result{Violations: c.violations, Counts: c.counts, Events: events, Trace: trace, Virtual: c.now()}
	for what, n := range c.counts {
		if kind, outcome, _ := strings.Cut(what, ": "); outcome == "done" && !passive[Deed(kind)] {
			r.Operations += n
		}
	}
	return r, nil
}

// passive deeds change nothing: they are no operations.
var passive = map[Deed]bool{Check: true, Status: true, Version: true}

// finished notes what came of a step.
func (c *Cluster) finished(s Step, err error) {
	outcome := "done"
	if refusal, ok := errors.AsType[*wire.Error](err); ok {
		outcome = fmt.Sprintf("refused with code %d", refusal.Code)
	} else if errors.Is(err, errSkipped) {
		outcome = "skipped"
	} else if err != nil {
		outcome = "failed"
	}
	c.note(fmt.Sprintf("%s: %s %v", s, outcome, err))
	c.count(fmt.Sprintf("%s: %s", s.Do, outcome))
}

// ordered are all places, by name.
func (c *Cluster) ordered() (all []*place) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(c.places)) {
		all = append(all, c.places[name])
	}
	return all
}

// settle ends all faults, and judges whether all agrees after a while, and whether nothing is left when all containers are gone.
func (c *Cluster) settle() {
	c.note("all faults end")
	for _, n := range c.nodes {
		n.way.Set(etcd.Condition{})
		n.disk.SetFull(false)
		n.trouble(func(t *troubles) { t.disk, t.kernel, t.news = 0, 0, false })
		if !n.alive() {
			n.kill()
			_ = n.again(nil)
		}
	}
	if c.unknown.Load() {
		c.converge(10*time.Minute, "the configuration is known", c.configured)
	}
	c.converge(10*time.Minute, "the agents are ready", c.ready)
	for _, p := range c.ordered() {
		p.lock()
		for _, former := range p.former {
			former.remove()
		}
		p.former = nil
		p.unlock()
	}
	if c.byHand.Load() {
		c.converge(3*time.Minute, "the doctor has repaired what somebody has deleted", func() error { return doFix(c, Step{}) })
	}
	c.converge(10*time.Minute, "all agrees", c.agreed)
	c.converge(2*time.Hour, "etcd's state is accepted", c.accepted) // it takes the longest right, of settings that are lost an hour
	for _, n := range c.nodes {
		if n.suffers().forgot {
			_ = n.doBoot(Step{})
		}
	}
	c.converge(10*time.Minute, "the agents are ready again", c.ready)
	c.converge(refusedFor, "each node gives what is free", c.served)
	for _, p := range c.ordered() {
		p.lock()
		if p.current != nil && !p.current.fate().deleted {
			p.current.remove()
		}
		p.unlock()
	}
	c.converge(10*time.Minute, "nothing is left", c.agreed)
}

// converge waits for something, for at most so long.
func (c *Cluster) converge(within time.Duration, what string, check func() error) {
	var err error
	for end := time.Now().Add(within); c.going(); time.Sleep(500 * time.Millisecond) {
		if err = check(); err == nil {
			c.note(what)
			return
		}
		if time.Now().After(end) {
			c.violate(Violation{Rule: "converging", What: fmt.Sprintf("not so after %s: %s: %v", within, what, err)})
		}
	}
}

// configured has the operator write the pool as it was and apply the settings again, where nothing tells any more what they were.
func (c *Cluster) configured() error {
	return c.operate(func(ctx context.Context, o *lease.Operator) error {
		base, err := o.Config.Read(ctx)
		if err != nil {
			return err
		}
		if _, there := base.Pools[poolName]; !there {
			return errors.Join(c.tamper(clientv3.OpPut(keys.Pool(poolName), c.observer.lastPool())), errors.New("the pool was just written"))
		}
		if !base.Unsettled {
			return nil
		}
		next := base.Clone()
		configure(next, c.options)
		next.Pools = base.Pools
		_, err = o.Editor.Apply(ctx, base, next, config.Note{Who: "operator"})
		return err
	})
}

// accepted reports whether some node waits for others to assert what they hold, as after a restore.
func (c *Cluster) accepted() error {
	if !c.observer.settledSince(0) {
		return errors.New("etcd recovers")
	}
	return nil
}

// ready reports which agent allocates nothing yet.
func (c *Cluster) ready() error {
	for _, n := range c.nodes {
		if !n.alive() {
			return fmt.Errorf("no agent runs on %s", n.name)
		}
		if err := n.doStatus(Step{}); err != nil {
			return fmt.Errorf("the agent of %s: %w", n.name, err)
		}
	}
	return nil
}

// agreed compares runtime, kernel and etcd.
func (c *Cluster) agreed() error {
	var state *admin.State
	err := c.operate(func(ctx context.Context, o *lease.Operator) (err error) {
		state, err = o.Admin.State(ctx)
		return err
	})
	if err != nil {
		return err
	}
	held := map[string]string{} // by address: node and container
	for _, a := range state.Assignments {
		held[a.Address.String()] = a.Node + " " + a.Attachment.Container
	}
	for _, r := range state.Reservations {
		if r.Holder != nil {
			held[r.Address.String()] = r.Holder.Node + " " + r.Holder.Attachment.Container
		}
	}
	ports := map[*node]int{}
	for _, p := range c.ordered() {
		k := p.current
		if k == nil || !k.running() {
			continue
		}
		ports[k.node]++
		want, isolated := k.node.name+" "+k.id, c.judge.isolated(k)
		if isolated { // it stays so until it is deleted, and keeps what nobody else has
			c.count("isolated: at the end")
		}
		for _, a := range k.fate().addresses {
			switch {
			// An isolated one of two families keeps its node from clearing what a restored etcd says of the address that it has not lost.
			case held[a.String()] == want, isolated && strings.HasPrefix(held[a.String()], k.node.name+" "):
				delete(held, a.String())
			case !isolated && c.observer.hasPool(k.place.pool): // of a pool that a restore has lost nothing can be recorded
				return fmt.Errorf("%s is %s's, and etcd says %q", a, want, held[a.String()])
			}
			if !isolated && !c.judge.answers(k, a) {
				return fmt.Errorf("%v does not answer for %s", k, a)
			}
		}
	}
	for a, by := range held {
		return fmt.Errorf("etcd has %s for %s, which does not run", a, by)
	}
	for _, n := range c.nodes {
		if have := n.host.Ports(); have != ports[n] {
			return fmt.Errorf("%s has %d ports for %d containers", n.name, have, ports[n])
		}
	}
	return nil
}
