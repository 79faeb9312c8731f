package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/berth-ipam/berth/e2e/lab"
)

// A sample is what there is of everything at one time.
type sample struct {
	nodes []usage        // one a node
	keys  map[string]int // in etcd, by kind: the first part of their names
	left  []string       // of containers, anywhere
}

// usage is what one agent has.
type usage struct {
	rss         int // KiB
	goroutines  int
	descriptors int // but for netlink sockets
	netlink     int // sockets, of which an agent keeps some for its next requests
	journal     int // bytes
}

func take(ctx context.Context, l *lab.Lab) (*sample, error) {
	s := &sample{keys: map[string]int{}}
	for _, node := range l.Nodes {
		u, err := takeUsage(ctx, node)
		if err != nil {
			return nil, err
		}
		s.nodes = append(s.nodes, u)
	}
	census, err := l.Census(ctx)
	if err != nil {
		return nil, err
	}
	s.left = census.Left()
	keys, err := l.Etcd.Get(ctx, "/berth/v1/")
	if err != nil {
		return nil, err
	}
	for key := range keys {
		kind, _, _ := strings.Cut(strings.TrimPrefix(key, "/berth/v1/"), "/")
		s.keys[kind]++
	}
	return s, nil
}

func takeUsage(ctx context.Context, node *lab.Node) (u usage, err error) {
	// The web server comes last: its connections, which end a moment after the answer, are to be no part of the count.
	process := fmt.Sprintf("/proc/%d", node.PID())
	if u.descriptors, u.netlink, err = descriptors(process); err != nil {
		return u, err
	}
	goroutines, err := node.Metric(ctx, "go_goroutines")
	if err != nil {
		return u, err
	}
	u.goroutines = int(goroutines)
	journal, err := os.Stat(filepath.Join(node.RunDir(), "journal"))
	if err != nil {
		return u, err
	}
	u.journal = int(journal.Size())
	u.rss, err = rss(process)
	return u, err
}

// descriptors counts a process's, and among them apart those that are netlink sockets (proc_pid_fd(5), proc_pid_net(5)).
func descriptors(process string) (others, netlink int, err error) {
	table, err := os.ReadFile(filepath.Join(process, "net", "netlink"))
	if err != nil {
		return 0, 0, err
	}
	sockets := map[string]bool{}
	for line := range strings.Lines(string(table)) {
		if columns := strings.Fields(line); len(columns) > 0 {
			sockets["socket:["+columns[len(columns)-1]+"]"] = true // its inode
		}
	}
	open, err := os.ReadDir(filepath.Join(process, "fd"))
	if err != nil {
		return 0, 0, err
	}
	for _, descriptor := range open {
		// One that is gone meanwhile was none of those that stay.
		if what, err := os.Readlink(filepath.Join(process, "fd", descriptor.Name())); err != nil {
			continue
		} else if sockets[what] {
			netlink++
		} else {
			others++
		}
	}
	return others, netlink, nil
}

// rss is a process's resident memory in KiB (proc_pid_status(5)).
func rss(process string) (kib int, err error) {
	text, err := os.ReadFile(filepath.Join(process, "status"))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kib); n == 1 {
			return kib, nil
		}
	}
	return 0, fmt.Errorf("%s/status has no VmRSS", process)
}

func (s *sample) total() (keys int) {
	for _, n := range s.keys {
		keys += n
	}
	return keys
}

const (
	calm     = 25 * time.Second // nothing changes for so long: agents look every 10 s for blocks to give back
	patience = 2 * time.Minute  // until then
)

// rest waits until no container is left anywhere and the counts have not changed for a while, and samples.
func rest(ctx context.Context, l *lab.Lab) (*sample, error) {
	began, since := time.Now(), time.Now()
	var last *sample
	var unrest error
	for {
		now, err := take(ctx, l)
		if err != nil {
			return nil, err
		}
		if last == nil || now.busy() != nil || now.change(last) != nil {
			if last != nil {
				unrest = errors.Join(now.busy(), now.change(last))
			}
			last, since = now, time.Now()
		}
		if time.Since(since) > calm {
			return now, nil
		}
		if time.Since(began) > patience {
			return nil, fmt.Errorf("%v after the last DEL there is no rest yet: %w", patience, unrest)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

// busy says what is left of containers: attachments, assignments, links, ports, notes.
func (s *sample) busy() error {
	if len(s.left) == 0 {
		return nil
	}
	return fmt.Errorf("of containers there are left %d things: %s …", len(s.left), s.left[0])
}

// change says what of keys and descriptors is of another number than in an earlier sample.
func (s *sample) change(earlier *sample) error {
	var errs []error
	for i := range s.nodes {
		if was, is := earlier.nodes[i].descriptors, s.nodes[i].descriptors; was != is {
			errs = append(errs, fmt.Errorf("n%d had %d descriptors and has %d", i+1, was, is))
		}
	}
	if difference := earlier.difference(s); difference != "" {
		errs = append(errs, errors.New("etcd's keys: "+difference))
	}
	return errors.Join(errs...)
}

// every calls f again and again until stop is called, which gives the first error.
func every(period time.Duration, f func() error) (stop func() error) {
	ended, done := make(chan struct{}), make(chan error, 1)
	go func() {
		tick := time.NewTicker(period)
		defer tick.Stop()
		for {
			select {
			case <-ended:
				done <- nil
				return
			case <-tick.C:
				if err := f(); err != nil {
					done <- err
					return
				}
			}
		}
	}()
	return func() error { close(ended); return <-done }
}
