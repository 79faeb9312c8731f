package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/berth-ipam/berth/e2e/lab"
	"github.com/berth-ipam/berth/e2e/lab/labtest"
)

func restart(t *testing.T, end func() error, start func(context.Context) error) error {
	t.Helper()
	return errors.Join(end(), start(t.Context()))
}

func TestStatelessContainersComeAndGoWhileEtcdIsAway(t *testing.T) {
	l := newLab(t, 2, onePool)
	var old, young []*lab.Container
	for i := range 6 {
		c := container(t, l.Nodes[i%2], l, "BERTH_APP", "web")
		add(t, c)
		old = append(old, c)
	}
	if err := l.Etcd.Halt(); err != nil {
		t.Fatal(err)
	}
	seen := map[netip.Addr]string{}
	for _, c := range old[:3] {
		seen[c.Address] = c.ID
	}
	for _, c := range old[3:] {
		del(t, c)
	}
	for i := range 10 {
		c := container(t, l.Nodes[i%2], l, "BERTH_APP", "api")
		if other, twice := seen[add(t, c)]; twice {
			t.Errorf("%s and %s both have %v", other, c.ID, c.Address)
		}
		seen[c.Address] = c.ID
		reaches(t, c, old[i%3].Address)
		young = append(young, c)
	}
	if err := l.Etcd.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	shows(t, l, append(young, old[:3]...)...)
}

// shows waits until etcd has an assignment for each of the containers and for nobody else.
func shows(t *testing.T, l *lab.Lab, containers ...*lab.Container) {
	t.Helper()
	labtest.Eventually(t, "etcd shows who is there", func() error {
		assignments, err := l.Etcd.Get(t.Context(), "/berth/v1/assignments/default/")
		if err == nil && len(assignments) != len(containers) {
			err = fmt.Errorf("%d assignments for %d containers", len(assignments), len(containers))
		}
		for _, c := range containers {
			if value := assignments["/berth/v1/assignments/default/"+c.Address.String()]; !strings.Contains(value, c.ID) {
				err = errors.Join(err, fmt.Errorf("%v is shown as %q: want %s", c.Address, value, c.ID))
			}
		}
		return err
	})
}

func TestAnAgentWaitsForEtcdAndSaysSo(t *testing.T) {
	l := newLab(t, 1, onePool)
	node := l.Nodes[0]
	if err := errors.Join(node.Stop(), l.Etcd.Halt(), node.Launch()); err != nil {
		t.Fatal(err)
	}
	labtest.Eventually(t, "/readyz says what is missing", func() error {
		status, body, err := node.HTTP(t.Context(), "/readyz")
		if err == nil && (status != http.StatusServiceUnavailable || !strings.Contains(body, "etcd")) {
			err = fmt.Errorf("it says %d: %s", status, body)
		}
		return err
	})
	if status, body, err := node.HTTP(t.Context(), "/healthz"); err != nil || status != http.StatusOK {
		t.Errorf("/healthz says %d, %s, %v: the agent itself is well", status, body, err)
	}
	if err := errors.Join(l.Etcd.Start(t.Context()), node.AwaitReady(t.Context())); err != nil {
		t.Fatal(err)
	}
	add(t, container(t, node, l))
}

func TestWithoutItsAgentANodeDeletesByNoteAndAddsLater(t *testing.T) {
	l := newLab(t, 1, onePool)
	node := l.Nodes[0]
	before := warm(t, l)
	stays, goes, late := container(t, node, l), container(t, node, l), container(t, node, l)
	add(t, stays)
	add(t, goes)
	if err := node.Kill(); err != nil {
		t.Fatal(err)
	}
	reaches(t, stays, goes.Address)
	del(t, goes)
	_, err := late.Add(t.Context())
	refused(t, err, 11, node.Socket())
	refused(t, node.CNIStatus(t.Context(), lab.Plain()), 50, node.Socket())
	if err := node.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	shows(t, l, stays)
	if err := stays.Check(t.Context()); err != nil {
		t.Errorf("CHECK after the restart: %v", err)
	}
	add(t, late)
	del(t, late)
	del(t, stays)
	restores(t, l, before)
}

func TestAnAgentStartedAgainKnowsWhatItHasAnswered(t *testing.T) {
	l := newLab(t, 1, onePool)
	node := l.Nodes[0]
	for name, end := range map[string]func() error{"stopped": node.Stop, "killed": node.Kill} {
		a, b := container(t, node, l, "BERTH_APP", "web"), member(t, node, l, "db-"+name)
		hadA, hadB := add(t, a), add(t, b)
		if err := restart(t, end, node.Start); err != nil {
			t.Fatal(err)
		}
		for _, c := range []*lab.Container{a, b} {
			if err := c.Check(t.Context()); err != nil {
				t.Errorf("%s: CHECK of %s: %v", name, c.ID, err)
			}
		}
		if add(t, a) != hadA || add(t, b) != hadB {
			t.Errorf("%s: ADD again gives %v and %v: want %v and %v", name, a.Address, b.Address, hadA, hadB)
		}
		reaches(t, a, b.Address)
		del(t, a)
		del(t, b)
	}
}

func TestAnAddressComesBackWhenItsContainerIsGoneWithoutDel(t *testing.T) {
	l := newLab(t, 1, onePool)
	before := warm(t, l)
	c := container(t, l.Nodes[0], l)
	add(t, c)
	if err := c.Remove(); err != nil {
		t.Fatal(err)
	}
	restores(t, l, before)
}
