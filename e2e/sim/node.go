package sim

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/berth-ipam/berth/agent"
	agentnode "github.com/berth-ipam/berth/agent/node"
	"github.com/berth-ipam/berth/e2e/sim/chance"
	"github.com/berth-ipam/berth/e2e/sim/disk"
	"github.com/berth-ipam/berth/e2e/sim/etcd"
	"github.com/berth-ipam/berth/e2e/sim/kernel"
	"github.com/berth-ipam/berth/internal/clock"
	"github.com/berth-ipam/berth/internal/random"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/netops"
)

const runDir = "/run/berth"

// A node is a machine: what of it outlives its agent's processes.
type node struct {
	cluster *Cluster
	name    string
	chance  *chance.Source
	disk    *disk.Disk
	host    *kernel.Host
	way     *etcd.Way
	socket  *socket

	mu       sync.Mutex
	troubles troubles

	turn   chan struct{} // full: somebody starts or boots it
	boots  int
	booted time.Time
	lives  int                     // processes that there were
	agent  atomic.Pointer[process] // nil: none runs
}

func newNode(c *Cluster, name string) *node {
	source := c.chance.Of(name)
	n := &node{
		cluster: c, name: name, chance: source, disk: disk.New(), host: c.lan.Host(name), way: etcd.NewWay(c.etcd, source.Of("way")),
		socket: &socket{}, booted: time.Now(), boots: 1, turn: make(chan struct{}, 1),
	}
	return n
}

// troubles are what a node suffers from now.
type troubles struct {
	disk, kernel int           // one of so many operations fails; 0: none
	full         bool          // nothing can be written
	news         bool          // the kernel's news come late, twice or never
	asleep       time.Duration // how long the machine has slept in all
	paused       time.Time     // when its agent last went on after a pause
	wall         time.Duration // what its wall clock is ahead of the others'
	started      time.Time     // when its present agent did
	flushed      bool          // its table was flushed while no agent could put it back
	forgot       bool          // its journal was lost since the machine has booted: what it owned by then is nobody's until the next boot
	woke         time.Time     // when it last woke, or lost its fence: what it lost meanwhile it isolates a moment later
}

func (n *node) trouble(change func(*troubles)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change(&n.troubles)
}

func (n *node) suffers() troubles {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.troubles
}

// A process is one life of a node's agent.
type process struct {
	node  *node
	agent *agent.Agent
	end   context.CancelFunc
	ended chan struct{} // closed when Run has returned, or it was killed and nothing of it runs any more
	err   error         // Run's

	dead   atomic.Bool
	mu     sync.Mutex
	paused chan struct{} // closed when it goes on; nil: it is not paused
	trap   string        // the point at which it is killed
	passes int           // of that point, before it is
}

// boottime is the node's time since it booted.
func (n *node) boottime() time.Duration { return time.Since(n.booted) }

// wall is the node's time of day. What depends on it is for people only.
func (n *node) wall() time.Time { return time.Now().Add(n.suffers().wall).UTC() }

// start starts the node's agent.
func (n *node) start() error {
	n.lives++
	n.trouble(func(t *troubles) { t.started = time.Now() })
	p := &process{node: n, ended: make(chan struct{})}
	n.disk.Before = func(op, _ string) error {
		p.pass("disk-" + op)
		if n.chance.In("disk "+op, n.suffers().disk) {
			return syscall.EIO
		}
		return nil
	}
	source := random.Seeded(n.chance.Seed(fmt.Sprint("life", n.lives)))
	a, err := agent.New(agent.Options{
		Options: agentnode.Options{
			Name: n.name, Address: n.name, Machine: "machine of " + n.name, Boot: fmt.Sprint("boot", n.boots), Version: "simulated",
			RunDir: runDir, Log: n.cluster.logger(n.name), Random: source, Disk: n.disk,
			Clock: clock.Clock{
				Boot: n.boottime, Asleep: func() time.Duration { return n.suffers().asleep }, Wall: n.wall,
			},
			Etcd: kv.Options{Endpoints: []string{nowhere}, Network: n.way.Process(p.etcdSeam)},
		},
		Kernel:       func() (agent.Kernel, error) { return n.openKernel(p) },
		ListenSocket: n.socket.listen,
	})
	if err != nil {
		return fmt.Errorf("the agent of %s does not start: %w", n.name, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.agent, p.end = a, cancel
	n.agent.Store(p)
	go func() {
		defer close(p.ended)
		defer a.Close()
		p.err = a.Run(ctx)
		switch {
		case p.err == nil || p.dead.Load() || ctx.Err() != nil:
		case n.suffers().full, n.suffers().disk+n.suffers().kernel > 0: // its supervisor starts it again
			n.cluster.note(fmt.Sprintf("the agent of %s has ended: %v", n.name, p.err))
			n.cluster.watches.Go(func() {
				<-p.ended
				time.Sleep(time.Second)
				_ = n.again(p)
			})
		default:
			n.cluster.violate(Violation{Rule: "runs", What: fmt.Sprintf("the agent of %s has ended by itself: %v", n.name, p.err)})
		}
	}()
	return nil
}

func (p *process) etcdSeam(point string) {
	words := strings.SplitN(point, " ", 3)
	p.seam(words[0] + "-" + words[1])
}

// seam is passed by the process wherever it meets what is outside of it. A paused one waits there.
func (p *process) seam(point string) {
	p.mu.Lock()
	for p.paused != nil {
		wait := p.paused
		p.mu.Unlock()
		<-wait
		p.mu.Lock()
	}
	p.mu.Unlock()
	p.pass(point)
}

// pass is a seam for what the process does under a mutex, where none waits. A dead process ends there.
func (p *process) pass(point string) {
	p.node.cluster.debug("%s passes %s", p.node.name, point)
	p.mu.Lock()
	caught := false
	if p.trap == point {
		p.passes--
		caught = p.passes <= 0
	}
	p.mu.Unlock()
	if caught {
		p.die()
	}
	if p.dead.Load() {
		runtime.Goexit()
	}
}

// die ends a process as SIGKILL does: nothing of it passes a seam any more.
func (p *process) die() {
	if p.dead.CompareAndSwap(false, true) {
		p.node.cluster.note("the agent of " + p.node.name + " is killed")
		p.goOn()
		p.node.socket.cut()
		p.end()
	}
}

func (p *process) pause() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.paused == nil {
		p.paused = make(chan struct{})
	}
}

func (p *process) isPaused() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.paused != nil
}

func (p *process) goOn() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.paused != nil {
		close(p.paused)
		p.paused = nil
	}
}

// setTrap has the process killed at the nth passing of a point.
func (p *process) setTrap(point string, nth int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trap, p.passes = point, nth
}

// kill kills the node's agent, if one runs, and waits until nothing of it is left.
func (n *node) kill() {
	if p := n.agent.Load(); p != nil {
		n.trouble(func(t *troubles) { t.flushed = t.flushed && (p.isPaused() || time.Since(t.started) < grace) }) // else it was put back
		p.die()
		<-p.ended
		n.agent.Store(nil)
	}
}

// boot boots the machine: no process, container or file below /run outlives that.
func (n *node) boot() {
	n.kill()
	n.disk.SetFull(false)
	n.disk.Clear()
	n.host.Reboot()
	n.boots, n.booted = n.boots+1, time.Now()
	n.trouble(func(t *troubles) { t.forgot = false })
}

// unguarded reports whether the agent is paused, or was until just now, and could cut no port.
func (n *node) unguarded() bool {
	t := n.suffers()
	return !n.acts() || time.Since(t.paused) < settled || time.Since(t.woke) < settled
}

// fenceless reports whether the table was flushed while no agent could put it back, and none has had the time since.
func (n *node) fenceless() bool {
	t := n.suffers()
	return t.flushed && (!n.acts() || time.Since(t.started) < grace || time.Since(t.paused) < grace)
}

// acts reports whether an agent runs, and is not paused.
func (n *node) acts() bool {
	p := n.agent.Load() // it may be killed meanwhile
	return p != nil && n.alive() && !p.isPaused()
}

// alive reports whether an agent runs.
func (n *node) alive() bool {
	p := n.agent.Load()
	if p == nil || p.dead.Load() {
		return false
	}
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// openKernel opens the kernel for a process. Each of its calls takes a while, and the process may end before or after it.
func (n *node) openKernel(p *process) (agent.Kernel, error) {
	n.host.SetFaults(kernel.Faults{
		Before: func(op string) {
			p.seam("kernel-before-" + op)
			time.Sleep(time.Microsecond + n.chance.Span("kernel "+op, 300*time.Microsecond))
		},
		After: func(op string) { p.seam("kernel-after-" + op) },
		Fail:  n.failing,
		News:  n.news,
	})
	return n.host.Open()
}

// failing says whether a call of the kernel fails, and whether it has its effect nevertheless.
func (n *node) failing(op string) (err error, done bool) {
	if n.chance.In("kernel fails "+op, n.suffers().kernel) {
		return syscall.ENOBUFS, n.chance.In("kernel does "+op, 2)
	}
	return nil, false
}

// news says when an event of the kernel comes.
func (n *node) news(netops.Event) []time.Duration {
	switch late := n.chance.Span("news", 3*time.Second); {
	case !n.suffers().news:
		return []time.Duration{0}
	case n.chance.In("news are lost", 3):
		return nil
	default:
		return []time.Duration{late, 2 * late}
	}
}
