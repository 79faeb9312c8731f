package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/berth-ipam/berth/e2e/lab"
	"github.com/berth-ipam/berth/e2e/target"
)

const hostPort = 18080

// networks are the names that the shipped files give theirs.
var networks = map[string]string{"10-berth.conflist": "berth", "10-bridge-berth.conflist": "bridged"}

// shipped is one CNI file under one runtime.
func shipped(ctx context.Context, m *machine, e engine, file string, c *target.Claims) error {
	if err := m.install(file, e.plugins()); err != nil {
		return err
	}
	if err := e.start(ctx); err != nil {
		return err
	}
	defer e.end()
	var ids []string
	defer func() {
		for _, id := range ids {
			_ = e.remove(context.WithoutCancel(ctx), id)
		}
	}()
	var first, second string
	for i, at := range []*string{&first, &second} {
		name := fmt.Sprintf("web-%d", i+1)
		id, err := e.run(ctx, networks[file], name, i*hostPort)
		if id != "" {
			ids = append(ids, id)
		}
		if err == nil {
			*at, err = addressOf(ctx, e, id)
		}
		c.Check("container "+name+" gets an address "+*at, err)
		if err != nil {
			return nil
		}
	}
	c.Check("berthctl shows who has them", m.shows(ctx, e, first, second))
	request := fmt.Sprintf(`printf 'GET / HTTP/1.0\r\n\r\n' | /bin/busybox nc -w 5 %s %d`, second, inImage)
	answer, err := e.exec(ctx, ids[0], "/bin/busybox", "sh", "-c", request)
	if err == nil && !strings.Contains(answer, page) {
		err = fmt.Errorf("it answers %q", answer)
	}
	c.Check("one reaches the other", err)
	_, err = e.exec(ctx, ids[0], "/bin/busybox", "ping", "-c", "1", "-W", "5", nodeAddress)
	c.Check("and the host", err)
	_, err = e.exec(ctx, ids[0], "/bin/busybox", "ping", "-c", "1", "-W", "5", "192.0.2.1")
	c.Check("and the world, by the host's address", err)
	published := fmt.Sprintf("%s:%d", nodeAddress, hostPort)
	c.Check("another machine reaches it by the host's port", lab.Eventually(ctx, published, func() error { return fetchPage(ctx, published) }))
	err = nil
	for _, id := range ids {
		err = errors.Join(err, e.remove(ctx, id))
	}
	ids = nil
	c.Check("both are stopped", err)
	c.Check("their addresses come back", lab.Eventually(ctx, "no assignment is left", func() error {
		all, err := m.assignments(ctx)
		if err == nil && len(all) > 0 {
			err = fmt.Errorf("assigned are %v", all)
		}
		return err
	}))
	c.Check("the host's port is closed", lab.Eventually(ctx, published, func() error {
		if fetchPage(ctx, published) == nil {
			return errors.New("it still answers")
		}
		return nil
	}))
	return nil
}

var inet = regexp.MustCompile(`inet (10\.42\.[0-9.]+)/16`)

// addressOf asks the container itself.
func addressOf(ctx context.Context, e engine, id string) (string, error) {
	text, err := e.exec(ctx, id, "/bin/busybox", "ip", "-4", "addr", "show", "eth0")
	if err != nil {
		return "", err
	}
	found := inet.FindStringSubmatch(text)
	if found == nil {
		return "", fmt.Errorf("eth0 has no address of the pool: %s", text)
	}
	return found[1], nil
}

// shows compares what people are shown with what the containers have.
func (m *machine) shows(ctx context.Context, e engine, addresses ...string) error {
	return lab.Eventually(ctx, "the assignments are published", func() error {
		all, err := m.assignments(ctx)
		if err != nil {
			return err
		}
		if len(all) != len(addresses) {
			return fmt.Errorf("%d are shown: %v", len(all), all)
		}
		for i, address := range addresses {
			want := e.calls(fmt.Sprintf("web-%d", i+1))
			if !shown(all, address, want) {
				return fmt.Errorf("%s of %q is not among %v", address, want, all)
			}
		}
		return nil
	})
}

func shown(all []assignment, address, name string) bool {
	for _, a := range all {
		if a.Address == address && strings.Trim(a.Workload.Namespace+"/"+a.Workload.Name, "/") == name {
			return true
		}
	}
	return false
}

// restarted restarts the agent again and again while sandboxes come and go, and the kubelet's condition is read.
func restarted(ctx context.Context, m *machine, e *cri, restarts int, c *target.Claims) error {
	if err := m.install("10-berth.conflist", e.plugins()); err != nil {
		return err
	}
	if err := e.start(ctx); err != nil {
		return err
	}
	defer e.end()
	if err := lab.Eventually(ctx, "NetworkReady", func() error { return e.networkReady(ctx) }); err != nil {
		return err
	}
	over, stop := context.WithCancel(ctx)
	var work sync.WaitGroup
	var adds, reads tally
	work.Go(func() {
		for n := 0; over.Err() == nil; n++ {
			id, _, err := e.sandbox(ctx, fmt.Sprintf("loop-%d", n), 0)
			adds.count(err)
			if id != "" && err == nil {
				if err := e.remove(ctx, id); err != nil {
					adds.count(err)
				}
			}
		}
	})
	work.Go(func() {
		for over.Err() == nil {
			reads.count(e.networkReady(ctx))
			time.Sleep(100 * time.Millisecond)
		}
	})
	for range restarts {
		before := adds.total()
		err := lab.Eventually(ctx, "sandboxes come and go", func() error {
			if adds.total() < before+2 {
				return errors.New("none was made")
			}
			return nil
		})
		if err = errors.Join(err, m.restart()); err != nil {
			stop()
			work.Wait()
			return err
		}
	}
	stop()
	work.Wait()
	c.Check(fmt.Sprintf("of %d sandboxes none fails, over %d restarts", adds.total(), restarts), adds.err())
	c.Check(fmt.Sprintf("NetworkReady is never false, read %d times", reads.total()), reads.err())
	return nil
}

// A tally counts what was tried, and keeps what failed.
type tally struct {
	mu     sync.Mutex
	tried  int
	failed []error
}

func (t *tally) count(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tried++
	if err != nil {
		t.failed = append(t.failed, err)
	}
}

func (t *tally) total() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.tried
}

func (t *tally) err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.failed) == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d: %w", len(t.failed), t.tried, t.failed[0])
}
