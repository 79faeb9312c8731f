package lab

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/berth-ipam/berth/internal/sandbox"
)

// PowerOff ends all that lives on the node at once, as a power cut does: its agent, the plugins that run, its
// network namespace, its containers' namespaces, and what lies in its run directory.
func (n *Node) PowerOff() error {
	n.life.end()
	errs := []error{n.Kill()}
	n.mu.Lock()
	containers := n.containers
	n.containers = nil
	n.mu.Unlock()
	for _, path := range containers {
		errs = append(errs, sandbox.Remove(path))
	}
	if n.lab.Etcd != nil {
		errs = append(errs, pullOut(n.Name))
	}
	return errors.Join(append(errs, sandbox.Remove(n.netns), n.removeDisk())...)
}

// PowerOn boots a node that is off: it has the same name, machine, NIC and address as before, another boot, and no
// containers. It starts the agent and does not wait for it.
func (n *Node) PowerOn() error {
	n.boots++
	n.Boot = fmt.Sprintf("%s-boot-%d", n.Name, n.boots)
	if err := n.make(); err != nil {
		return err
	}
	return n.Launch()
}

// Reboot is PowerOff and PowerOn, and waits until the agent can serve.
func (n *Node) Reboot(ctx context.Context) error {
	if err := errors.Join(n.PowerOff(), n.PowerOn()); err != nil {
		return err
	}
	return n.AwaitReady(ctx)
}

// make makes what a booted node has before anything runs on it.
func (n *Node) make() error {
	if err := sandbox.Namespace(n.netns); err != nil {
		return err
	}
	n.life.begin()
	if err := n.makeDisk(); err != nil || n.lab.options.Alone {
		return err
	}
	if n.lab.options.Apart > 0 {
		if err := n.Within(func() error { return set(strictPaths, "1") }); err != nil {
			return err
		}
	}
	return plugIn(n.Name, n.netns, n.addresses()...)
}

// keep remembers a container's namespace, which a power cut is to end; forget is its opposite.
func (n *Node) keep(path string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.containers = append(n.containers, path)
}

func (n *Node) forget(path string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.containers = slices.DeleteFunc(n.containers, func(p string) bool { return p == path })
}

// A life is the time from a boot to the power's end. Programs that the lab runs on a node end with it.
type life struct {
	mu      sync.Mutex
	ctx     context.Context // nil before the first boot
	cancel  context.CancelFunc
	running sync.WaitGroup
}

func (l *life) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ctx, l.cancel = context.WithCancel(context.Background())
}

// end waits until every program that has joined is gone.
func (l *life) end() {
	l.mu.Lock()
	if l.cancel != nil {
		l.cancel()
	}
	l.mu.Unlock()
	l.running.Wait()
}

// join gives a context that ends with ctx and with the life; leave is to be called when the program has ended.
func (l *life) join(ctx context.Context) (_ context.Context, leave func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx == nil || l.ctx.Err() != nil {
		return nil, nil, errors.New("lab: the node is off")
	}
	l.running.Add(1)
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(l.ctx, cancel)
	return ctx, func() { stop(); cancel(); l.running.Done() }, nil
}
