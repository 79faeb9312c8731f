package connectivity

import (
	"context"
	"slices"
	"time"

	"github.com/berth-ipam/berth/agent/attach"
	"github.com/berth-ipam/berth/agent/node"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/check"
	"github.com/berth-ipam/berth/lease/record"
)

// longest bounds how long containers of one check are kept, whatever its record says.
const longest = time.Hour

// A Checker takes part in checks, in one at a time.
type Checker struct {
	tools
	present *part // in the check that is under way, if this node has one
}

// New makes a node's checker.
func New(n *node.Node, kernel Kernel, a *attach.Attacher, d *attach.Detacher) *Checker {
	return &Checker{tools: tools{n, kernel, a, d}}
}

// Run takes part in the checks that are asked for, until ctx ends. Then what they have made is gone.
func (k *Checker) Run(ctx context.Context) error {
	k.clear(ctx)
	defer k.leave()
	return check.Follow(ctx, k.Store.KV, func(q *record.Check) { k.hear(ctx, q) })
}

// hear begins this node's part in a check, goes on with it, or ends it. It does not wait for anything of that.
func (k *Checker) hear(ctx context.Context, q *record.Check) {
	if k.present != nil && (q == nil || q.ID != k.present.id) {
		k.present.cancel() // it is waited for by the next one
	}
	if q == nil || !slices.Contains(q.Nodes, k.Name) {
		return
	}
	if k.present == nil || q.ID != k.present.id {
		k.present = k.begin(ctx, q, k.present)
	}
	if q.Peers != nil {
		select {
		case k.present.peers <- q:
		default: // it has them
		}
	}
}

// leave ends this node's part, and returns when nothing is left of it.
func (k *Checker) leave() {
	if k.present != nil {
		k.present.cancel()
		<-k.present.done
	}
}

func (k *Checker) begin(ctx context.Context, q *record.Check, former *part) *part {
	ctx, cancel := context.WithTimeout(ctx, min(time.Duration(q.Keep), longest))
	p := &part{tools: k.tools, id: q.ID, check: q, peers: make(chan *record.Check, 1), cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		defer cancel()
		if former != nil {
			<-former.done
		}
		if ctx.Err() == nil {
			p.do(ctx)
		}
	}()
	return p
}

// clear deletes what a former process has left.
func (k *Checker) clear(ctx context.Context) {
	for _, e := range k.Journal.Entries() {
		if at := e.Attachment; at.Network == Network {
			k.remove(ctx, wire.Container{Network: at.Network, ID: at.Container, Interface: at.Interface})
		}
	}
}
