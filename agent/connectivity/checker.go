package connectivity

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/agent/attach"
	"github.com/berth-ipam/berth/agent/node"
	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/check"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/netops/echo"
)

// Network is that of the containers which checks make.
const Network = "berth-connectivity"

// longest bounds how long containers of one check are kept, whatever its record says.
const longest = time.Hour

// A Kernel is what a checker uses of the host's kernel. *netops.Kernel is one.
type Kernel interface {
	NewNamespace() (*os.File, error)
	Echo(ctx context.Context, r echo.Request) error
	Uplink(bridge string) (name string, err error)
	Probe(ctx context.Context, link string, addrs []netip.Addr) (map[netip.Addr]net.HardwareAddr, error)
}

// A Checker takes part in checks, in one at a time.
type Checker struct {
	*node.Node
	kernel   Kernel
	attacher *attach.Attacher
	detacher *attach.Detacher

	present *part // in the check that is under way, if this node has one
}

// New makes a node's checker.
func New(n *node.Node, kernel Kernel, a *attach.Attacher, d *attach.Detacher) *Checker {
	return &Checker{Node: n, kernel: kernel, attacher: a, detacher: d}
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

// A part is what this node does in one check.
type part struct {
	*Checker
	id     string
	check  *record.Check
	peers  chan *record.Check // the check as it is once its peers are known
	cancel context.CancelFunc
	done   chan struct{}
}

func (k *Checker) begin(ctx context.Context, q *record.Check, former *part) *part {
	ctx, cancel := context.WithTimeout(ctx, min(time.Duration(q.Keep), longest))
	p := &part{Checker: k, id: q.ID, check: q, peers: make(chan *record.Check, 1), cancel: cancel, done: make(chan struct{})}
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

// do makes the containers, asks the others' when they are known, and takes them away when the check is over.
func (p *part) do(ctx context.Context) {
	p.Log.Info("takes part in a check of the network", zap.String("by", p.check.Who), zap.Strings("pools", p.check.Pools))
	answer := record.CheckAnswer{Version: p.Version}
	probes := p.makeAll(ctx)
	defer p.removeAll(probes)
	for _, each := range probes {
		answer.Probes = append(answer.Probes, each.record)
	}
	p.answer(ctx, answer)
	select {
	case p.check = <-p.peers:
	case <-ctx.Done():
		return
	}
	if slices.Contains(p.check.From, p.Name) {
		answer.Results = p.askAll(ctx, probes)
		answer.Asked = true
		p.answer(ctx, answer)
	}
	<-ctx.Done() // others may still ask
}

// answerPause is how long it waits before it tries again to answer.
const answerPause = 200 * time.Millisecond

// answer writes what was done so far, as soon as the node has a session to do it by, while somebody waits for it.
func (p *part) answer(ctx context.Context, a record.CheckAnswer) {
	for ctx.Err() == nil {
		if session := p.Gate.Session(); session != nil {
			err := check.Answer(ctx, session, p.check, a)
			if err == nil || errors.Is(err, check.ErrWithdrawn) {
				return
			}
			p.Log.Debug("cannot answer a check yet", zap.Error(err))
		}
		task.Pause(ctx, answerPause)
	}
}

// clear deletes what a former process has left.
func (k *Checker) clear(ctx context.Context) {
	for _, e := range k.Journal.Entries() {
		if at := e.Attachment; at.Network == Network {
			k.remove(ctx, wire.Container{Network: at.Network, ID: at.Container, Interface: at.Interface})
		}
	}
}
