package apart

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/berth-ipam/berth/agent/findings"
	"github.com/berth-ipam/berth/agent/node"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/lockorder"
	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/netops"
)

// A Kernel is what a keeper uses of the host's kernel. *netops.Kernel is one.
type Kernel interface {
	Separate(from []netops.Range) error
}

// Options are what a keeper works on.
type Options struct {
	Kernel   Kernel
	Config   func() *config.Config // the present one; revision 0: unknown
	Findings *findings.Board
}

// A Keeper keeps what is apart in the kernel. It is the only one that changes it.
type Keeper struct {
	Options
	known known
	news  task.Signal

	setting lockorder.Spanning // of one call of the kernel, and of set; it may be taken under an attachment's lock
	set     []allocator.Range  // what the kernel has
	stands  bool               // set is known
}

// New makes a node's keeper.
func New(o Options) *Keeper {
	return &Keeper{Options: o, known: known{machines: map[block][]netip.Prefix{}}, news: task.NewSignal()}
}

// Hooks are what tells the keeper of changes.
func (k *Keeper) Hooks() node.Hooks {
	return node.Hooks{
		ConfigChanged: []func(_, _ *config.Config){func(_, _ *config.Config) { k.news.Raise() }},
		ResetLocked:   []func(){k.known.reset},
		Blocks: []func(kv.Update[record.Block]){func(u kv.Update[record.Block]) {
			if k.known.apply(u) {
				k.news.Raise()
			}
		}},
	}
}

const (
	retry   = time.Second
	notSet  = "isolation-not-set"
	subject = "isolated pools"
)

// Run changes what is apart whenever what it depends on changes, until ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	var again <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-k.news:
		case <-again:
		}
		again = nil
		switch err := k.Apply(); {
		case err == nil:
			k.Findings.Clear(notSet, subject)
		case !errors.Is(err, errUnknown): // else news come
			again = time.After(retry)
			k.Findings.Set(notSet, subject, err.Error(), "see the cause; it is tried again each second, and until then containers of isolated "+
				"pools may reach those of other nodes, or may not reach what they should")
		}
	}
}

var errUnknown = errors.New("agent: isolated pools: which addresses the nodes themselves have is not known yet")

// Apply brings the kernel to the present configuration and records, at once. It costs nothing where it is there.
func (k *Keeper) Apply() error {
	k.setting.Lock()
	defer k.setting.Unlock()
	c := k.Config()
	if c.Revision == 0 {
		return errUnknown
	}
	machines, told := k.known.all()
	want := allocator.Apart(c.Pools, machines)
	switch {
	case len(want) > 0 && !told:
		return errUnknown
	case k.stands && slices.Equal(want, k.set):
		return nil
	}
	ranges := make([]netops.Range, len(want))
	for i, r := range want {
		ranges[i] = netops.Range(r)
	}
	lockorder.Calls(lockorder.Kernel)
	if err := k.Kernel.Separate(ranges); err != nil {
		return err
	}
	k.set, k.stands = want, true
	return nil
}

// ensurePoll is the interval at which Ensure looks whether the records are known by now.
const ensurePoll = 10 * time.Millisecond

// Ensure sees that the kernel keeps an isolated pool's containers apart before one of them is answered: it waits until the records are
// known, as they are soon after the agent's start. Other pools need nothing.
func (k *Keeper) Ensure(ctx context.Context, pool *allocator.Pool) error {
	for pool.Isolate {
		err := k.Apply()
		if !errors.Is(err, errUnknown) {
			return err
		}
		if ended := task.Pause(ctx, ensurePoll); ended != nil {
			return fmt.Errorf("%w: %w", err, ended)
		}
	}
	return nil
}
