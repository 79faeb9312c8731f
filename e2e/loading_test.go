package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-ipam/berth/e2e/lab"
)

// A loading is what comes and goes beside the damages: containers of a stateless app and members of a stateful one on each
// node.
type loading struct {
	t             *testing.T
	stop          context.CancelFunc
	work          sync.WaitGroup
	holders       holders
	mu            sync.Mutex
	adds, repeats int
}

func beginLoad(t *testing.T, l *lab.Lab) *loading {
	ctx, stop := context.WithCancel(context.Background())
	load := &loading{t: t, stop: stop, holders: holders{by: map[netip.Addr]string{}}}
	t.Cleanup(load.end)
	for i, n := range l.Nodes {
		for j := range 2 {
			load.work.Go(func() { load.comeAndGo(ctx, l, n, fmt.Sprintf("load-%d-%d", i, j), j == 1) })
		}
	}
	return load
}

func (o *loading) end() {
	o.stop()
	o.work.Wait()
	o.holders.Lock()
	defer o.holders.Unlock()
	for _, err := range o.holders.errs {
		o.t.Error(err)
	}
	o.holders.errs = nil
}

func (o *loading) comeAndGo(ctx context.Context, l *lab.Lab, n *lab.Node, name string, stateful bool) {
	args := []string{"BERTH_NAMESPACE", "shop", "BERTH_APP", "load"}
	if stateful {
		args = append(args, "BERTH_CLASS", "stateful", "BERTH_MEMBER", name)
	}
	for ctx.Err() == nil {
		c, err := n.Container(l.NextID(), lab.Berth(), args...)
		if err != nil {
			o.t.Error(err)
			return
		}
		o.live(ctx, c, name)
		_ = c.Remove()
	}
}

// live lets one container come and go. What fails is repeated, as a runtime would; it may fail for long only where the error
// names a record that cannot be read.
func (o *loading) live(ctx context.Context, c *lab.Container, name string) {
	for began := time.Now(); ; {
		_, err := c.Add(context.WithoutCancel(ctx))
		o.mu.Lock()
		o.adds++
		if err != nil {
			o.repeats++
		}
		o.mu.Unlock()
		if err == nil {
			break
		}
		if time.Since(began) > 30*time.Second && !strings.Contains(err.Error(), "cannot be read") {
			o.t.Errorf("ADD of %s on %s fails for half a minute: %v", name, c.Node.Name, err)
		}
		if ctx.Err() != nil || o.t.Failed() {
			return
		}
		time.Sleep(200 * time.Millisecond)
	}
	o.holders.take(c)
	select {
	case <-ctx.Done():
	case <-time.After(time.Second):
	}
	o.holders.leave(c)
	for began := time.Now(); ; time.Sleep(200 * time.Millisecond) {
		err := c.Del(context.WithoutCancel(ctx))
		if err == nil {
			return
		}
		if time.Since(began) > 30*time.Second {
			o.t.Errorf("DEL of %s on %s fails for half a minute: %v", name, c.Node.Name, err)
			return
		}
	}
}
