// Package lab is a small cluster on one machine: a switch, an etcd, and nodes that are network namespaces with a NIC
// each. It runs the real programs and reaches them as their users do; nothing in it is simulated but the hardware.
// It lives inside a sandbox, so whatever it makes is gone when its first process ends.
package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/berth-ipam/berth/internal/sandbox"
)

// Where a lab keeps what it makes. The paths are short, since that of a unix socket has at most 107 bytes (unix(7)).
const (
	root       = "/run/lab"
	namespaces = "/run/netns"
)

// etcdJobIn in the environment makes the program a member of an etcd, as the JSON of an etcdJob says.
const etcdJobIn = "BERTH_LAB_ETCD"

// Enter is the first thing that a program with a lab calls. It runs the program again inside a sandbox, as
// sandbox.Enter does, and in between serves as a member of the lab's etcd where the program was started for that.
func Enter() error {
	if text := os.Getenv(etcdJobIn); text != "" {
		var job etcdJob
		if err := json.Unmarshal([]byte(text), &job); err != nil {
			return fmt.Errorf("lab: %s: %w", etcdJobIn, err)
		}
		if err := job.serve(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	return sandbox.Enter()
}

// Options say what a lab is made of.
type Options struct {
	Binaries string         // directory of berth, berthd and berthctl
	Members  int            // of etcd, each a machine on the switch; 0: one
	Nodes    int            // how many nodes, each made and started; their names are n1, n2, …
	Disk     int64          // bytes of each node's run directory, on a file system of its own; 0: no bound
	Machines bool           // each node is a machine of its own, with an identity and locks (Node.Machine)
	Gateways []netip.Prefix // addresses of the switch, besides its own: what the pools name as their gateways
	Flags    []string       // further flags of every berthd
	Apart    int            // from this node on (1: n1) each has a network of its own, behind a router; 0: none
	Alone    bool           // one node with the etcd inside its berthd, and no switch
	IPv6     bool           // the nodes have IPv6 addresses, too, and a way out
}

// A Lab is a switch, an etcd and nodes.
type Lab struct {
	Etcd  *Etcd // nil when Alone
	Nodes []*Node

	options    Options
	containers atomic.Int64

	mu   sync.Mutex
	cuts []cut // what the switch lets through no more
}

// New makes a lab and waits until all of it is ready. On an error it leaves nothing behind.
func New(ctx context.Context, options Options) (_ *Lab, err error) {
	lab := &Lab{options: options}
	defer func() {
		if err != nil {
			err = errors.Join(err, lab.Close())
		}
	}()
	if err := os.MkdirAll(filepath.Join(root, "logs"), 0o755); err != nil {
		return nil, err
	}
	if options.Alone {
		node := lab.node(1)
		lab.Nodes = append(lab.Nodes, node)
		if err := node.make(); err != nil {
			return nil, err
		}
		return lab, node.Start(ctx)
	}
	if options.IPv6 {
		options.Gateways = append(slices.Clone(options.Gateways), netip.MustParsePrefix(switchOwnV6))
	}
	if err := makeSwitch(options.Gateways); err != nil {
		return nil, err
	}
	if options.Apart > 0 {
		if err := setRouting(true); err != nil {
			return nil, fmt.Errorf("lab: make a router: %w", err)
		}
	}
	if err := lab.startEtcd(ctx); err != nil {
		return nil, err
	}
	for range options.Nodes {
		if _, err := lab.AddNode(ctx); err != nil {
			return nil, err
		}
	}
	return lab, nil
}

// startEtcd plugs etcd's members into the switch and starts them.
func (l *Lab) startEtcd(ctx context.Context) error {
	l.Etcd = l.etcd(max(l.options.Members, 1))
	for _, m := range l.Etcd.Members {
		if err := sandbox.Namespace(m.netns); err != nil {
			return err
		}
		if err := plugIn(m.Name, m.netns, m.Address); err != nil {
			return err
		}
	}
	return l.Etcd.Start(ctx)
}

// AddNode plugs one more node into the switch and starts its agent.
func (l *Lab) AddNode(ctx context.Context) (*Node, error) {
	node, err := l.PlugNode()
	if err != nil {
		return nil, err
	}
	return node, node.Start(ctx)
}

// PlugNode plugs one more node into the switch, on which no agent has run yet.
func (l *Lab) PlugNode() (*Node, error) {
	node := l.node(len(l.Nodes) + 1)
	l.Nodes = append(l.Nodes, node)
	return node, node.make()
}

// Close ends every process and removes every namespace, link and file of the lab.
func (l *Lab) Close() error {
	var errs []error
	for _, node := range l.Nodes {
		errs = append(errs, node.Stop(), node.removeDisk())
	}
	if l.Etcd != nil {
		errs = append(errs, l.Etcd.Stop())
	}
	if len(l.cuts) > 0 {
		errs = append(errs, l.setCuts(nil))
	}
	errs = append(errs, removeSwitch())
	if l.options.Apart > 0 {
		errs = append(errs, setRouting(false))
	}
	paths, err := filepath.Glob(filepath.Join(namespaces, "*"))
	errs = append(errs, err)
	for _, path := range paths {
		errs = append(errs, sandbox.Remove(path))
	}
	return errors.Join(append(errs, os.RemoveAll(root))...)
}

// Logs gives the last lines of each log, for a failure's sake.
func (l *Lab) Logs(lines int) string {
	var text string
	paths, _ := filepath.Glob(filepath.Join(root, "logs", "*"))
	for _, path := range paths {
		text += fmt.Sprintf("--- %s\n%s", filepath.Base(path), tail(path, lines))
	}
	return text
}
