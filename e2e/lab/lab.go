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

	"github.com/berth-ipam/berth/internal/sandbox"
)

// Where a lab keeps what it makes. The paths are short, since that of a unix socket has at most 107 bytes (unix(7)).
const (
	root       = "/run/lab"
	namespaces = "/run/netns"
)

// etcdJob in the environment makes the program an etcd, as the JSON of an etcdOptions says.
const etcdJob = "BERTH_LAB_ETCD"

// Enter is the first thing that a program with a lab calls. It runs the program again inside a sandbox, as
// sandbox.Enter does, and in between serves as the lab's etcd where the program was started for that.
func Enter() error {
	if job := os.Getenv(etcdJob); job != "" {
		var options etcdOptions
		if err := json.Unmarshal([]byte(job), &options); err != nil {
			return fmt.Errorf("lab: %s: %w", etcdJob, err)
		}
		if err := serveEtcd(options); err != nil {
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
	Nodes    int            // how many nodes, each made and started; their names are n1, n2, …
	Gateways []netip.Prefix // addresses of the switch, besides its own: what the pools name as their gateways
	Flags    []string       // further flags of every berthd
	Alone    bool           // one node with the etcd inside its berthd, and no switch
}

// A Lab is a switch, an etcd and nodes.
type Lab struct {
	Etcd  *Etcd // nil when Alone
	Nodes []*Node

	options    Options
	containers int
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
		return lab, errors.Join(sandbox.Namespace(node.netns), node.Start(ctx))
	}
	if err := makeSwitch(options.Gateways); err != nil {
		return nil, err
	}
	lab.Etcd = &Etcd{options: etcdOptions{Dir: filepath.Join(root, "etcd"), Listen: "http://" + etcdAddress}}
	if err := lab.Etcd.Start(ctx); err != nil {
		return nil, err
	}
	for range options.Nodes {
		if _, err := lab.AddNode(ctx); err != nil {
			return nil, err
		}
	}
	return lab, nil
}

// AddNode plugs one more node into the switch and starts its agent.
func (l *Lab) AddNode(ctx context.Context) (*Node, error) {
	node := l.node(len(l.Nodes) + 1)
	l.Nodes = append(l.Nodes, node)
	if err := sandbox.Namespace(node.netns); err != nil {
		return nil, err
	}
	if err := plugIn(node); err != nil {
		return nil, err
	}
	return node, node.Start(ctx)
}

// Close ends every process and removes every namespace, link and file of the lab.
func (l *Lab) Close() error {
	var errs []error
	for _, node := range l.Nodes {
		errs = append(errs, node.Stop())
	}
	if l.Etcd != nil {
		errs = append(errs, l.Etcd.Stop())
	}
	errs = append(errs, removeSwitch())
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
