package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/berth-ipam/berth/e2e/lab"
	"github.com/berth-ipam/berth/e2e/lab/labtest"
)

// diagnosis is what berthctl doctor -o json says.
type diagnosis struct {
	Answered, Silent, Away []string
	Findings               []finding
	Repaired               []finding `json:"mended"`
}

type finding struct {
	Kind, Key, Node, Container, Cause string
	Repair                            string `json:"mend"`
	Note, Fix                         bool
}

// doctor runs berthctl doctor, and returns its exit code, too.
func doctor(t *testing.T, l *lab.Lab, flags ...string) (d diagnosis, code int) {
	t.Helper()
	out, err := l.Nodes[0].Berthctl(t.Context(), append([]string{"doctor", "-o", "json", "--timeout", "5s"}, flags...)...)
	if exit, ok := errors.AsType[*lab.ExitError](err); ok {
		code = exit.Code
	} else if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(out), &d); err != nil {
		t.Fatalf("exit code %d, %v: %s (%v)", code, err, out, err)
	}
	return d, code
}

// kinds are those of findings, sorted; a kind that is found twice is there twice.
func kinds(all []finding) (names []string) {
	for _, f := range all {
		names = append(names, f.Kind)
	}
	slices.Sort(names)
	return names
}

func (d diagnosis) String() string {
	text := ""
	for _, f := range d.Findings {
		text += fmt.Sprintf("%s %s node %s container %s: %s [%s]\n", f.Kind, f.Key, f.Node, f.Container, f.Cause, f.Repair)
	}
	return text
}

func TestAClusterThatWasDamagedByHandIsDiagnosedAndRepaired(t *testing.T) {
	l := newLab(t, 3, onePool)
	n1, n2, n3 := l.Nodes[0], l.Nodes[1], l.Nodes[2]
	web := []*lab.Container{container(t, n1, l), container(t, n1, l), container(t, n2, l)}
	for _, c := range web {
		add(t, c)
	}
	db := member(t, n1, l, "db-0")
	add(t, db)
	labtest.Eventually(t, "all is published", func() error { return healthy(t, l) })

	v := newVandal(t, l)
	planted := map[string]func(){
		"assignment-no-container": func() { v.put("assignments/default/"+free(web[0].Address, web...), assignmentOf("n1")) },
		"container-unassigned":    func() { v.del("assignments/default/" + web[0].Address.String()) },
		"assignment-unknown-node": func() { v.put("assignments/default/10.42.200.9", assignmentOf("ghost")) },
		"assignment-outside-pool": func() { v.put("assignments/default/192.0.2.9", assignmentOf("n1")) },
		"assignment-reserved": func() {
			reserve(t, l, "db-1", "10.42.1.1")
			v.put("assignments/default/10.42.1.1", assignmentOf("n2"))
		},
		"record-unreadable": func() { v.put("assignments/default/10.42.213.9", "{") },
		"part-unknown-node": func() { v.put("blocks/default/10.42.210.0", partOf("10.42.210.0", "ghost")) },
		"part-removed-node": func() {
			v.put("nodes/grave", `{"name":"grave","machine":"","boot":"","journal":"","removed":"2026-01-01T00:00:00Z"}`)
			v.put("blocks/default/10.42.211.0", partOf("10.42.211.0", "grave"))
		},
		"block-no-range": func() { v.put("blocks/default/10.42.212.0", partOf("10.42.212.0", "stateful")) },
		"block-no-pool":  func() { v.put("blocks/nowhere/10.43.0.0", partOf("10.43.0.0", "ghost")) },
		"reservation-unknown-node": func() {
			reserve(t, l, "db-2", "10.42.2.2")
			v.edit("reservations/default/10.42.2.2", attach("ghost"))
		},
		"reservation-no-identity": func() { v.del(reserve(t, l, "db-4", "10.42.4.4")) },
		"identity-no-reservation": func() {
			reserve(t, l, "db-5", "10.42.5.5")
			v.del("reservations/default/10.42.5.5")
		},
		"identity-elsewhere": func() {
			reserve(t, l, "db-6", "10.42.6.6")
			v.put("identities/berth/shop/db/db-7/eth0", `{"pool":"default","addresses":["10.42.6.6"]}`)
		},
		"reservation-second": func() {
			reserve(t, l, "db-8", "10.42.8.8")
			v.edit("reservations/default/10.42.8.8", func(record map[string]any) {
				text, _ := json.Marshal(record)
				v.put("reservations/default/10.42.8.9", string(text))
			})
		},
		"reservation-no-block": func() {
			reserve(t, l, "db-9", "10.42.9.9")
			v.del("blocks/default/10.42.9.0")
		},
		"status-unknown":  func() { v.put("status/ghost", "{}") },
		"demand-unknown":  func() { v.put("demands/default/ghost", "{}") },
		"session-unknown": func() { v.put("sessions/phantom", "{}") },
		"port-stray": func() {
			v.port(n3, "bthstray", `berth {"n":"berth","c":"stray","i":"eth0","p":"default","a":["10.42.99.99"]}`)
		},
	}
	var want []string
	for kind, plant := range planted {
		plant()
		want = append(want, kind)
	}
	// What only a person can repair.
	v.put("nonsense", "{}")
	note := filepath.Join(n2.RunDir(), "spool", "1.del")
	v.check(os.MkdirAll(filepath.Dir(note), 0o700))
	v.check(os.WriteFile(note, []byte("{"), 0o600))
	persons := []string{"block-no-pool", "key-unreadable", "note-unreadable", "part-unknown-node"}
	want = append(want, "key-unreadable", "note-unreadable")
	slices.Sort(want)

	d, code := doctor(t, l)
	if got := kinds(d.Findings); code != 3 || !slices.Equal(got, want) {
		t.Fatalf("exit code %d\nfound   %q\nplanted %q\n%s", code, got, want, d)
	}
	for _, f := range d.Findings {
		if f.Cause == "" || f.Repair == "" || f.Key+f.Node == "" || f.Fix == slices.Contains(persons, f.Kind) {
			t.Errorf("the finding says too little, or not whether --fix repairs it: %+v", f)
		}
	}

	d, code = doctor(t, l, "--fix")
	if got := kinds(d.Findings); code != 3 || !slices.Equal(got, persons) || len(d.Repaired) != len(want)-len(persons) {
		t.Fatalf("after --fix: exit code %d, left %q, %d of %d repaired\n%s", code, got, len(d.Repaired), len(want)-len(persons), d)
	}
	_, err := n1.Berthctl(t.Context(), "node", "remove", "ghost", "--force", "--yes") // nobody is there
	v.check(err)
	v.del("nonsense")
	v.check(os.Remove(note))
	if err := healthy(t, l); err != nil {
		t.Error(err)
	}
	for _, c := range append(web, db) {
		if err := c.Check(t.Context()); err != nil {
			t.Errorf("CHECK of %s: %v", c.ID, err)
		}
		had := c.Address
		if c == db {
			del(t, c)
			c = member(t, n3, l, "db-0")
			if got := add(t, c); got != had {
				t.Errorf("the member came back with %s, it had %s", got, had)
			}
		}
	}
	reaches(t, web[0], web[2].Address)
}

// healthy is an error unless the doctor finds nothing.
func healthy(t *testing.T, l *lab.Lab) error {
	t.Helper()
	if d, code := doctor(t, l); code != 0 || len(d.Findings) > 0 {
		return fmt.Errorf("doctor: exit code %d: %s", code, d)
	}
	return nil
}

func TestTheDoctorFindsNothingInAHealthyClusterWhileContainersComeAndGo(t *testing.T) {
	l := newLab(t, 2, onePool)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var churn sync.WaitGroup
	var making sync.Mutex
	create := func(node *lab.Node, stateful bool, name string) *lab.Container {
		making.Lock()
		defer making.Unlock()
		if stateful {
			return member(t, node, l, name)
		}
		return container(t, node, l)
	}
	for i, node := range l.Nodes {
		for j := range 2 {
			churn.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					c := create(node, j == 1, fmt.Sprintf("db-%d-%d", i, n%3))
					if _, err := c.Add(context.WithoutCancel(ctx)); err != nil {
						t.Error(err)
						return
					}
					if err := c.Delete(context.WithoutCancel(ctx)); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
	}
	for range 5 {
		if err := healthy(t, l); err != nil {
			t.Error(err)
		}
	}
	stop()
	churn.Wait()
}

func TestANodeWhoseAgentIsDeadIsNamed(t *testing.T) {
	l := newLab(t, 2, strings.Replace(onePool, "pools:", "settings:\n  session: 3s\npools:", 1))
	add(t, container(t, l.Nodes[1], l))
	db := member(t, l.Nodes[1], l, "db-0")
	add(t, db)
	if err := l.Nodes[1].Kill(); err != nil {
		t.Fatal(err)
	}
	labtest.Eventually(t, "the dead agent's node is named", func() error {
		d, code := doctor(t, l)
		if code != 3 || !slices.Equal(d.Away, []string{"n2"}) ||
			!slices.Equal(kinds(d.Findings), []string{"node-away", "reservation-away-node"}) {
			return fmt.Errorf("exit code %d: %+v", code, d)
		}
		return nil
	})
	if d, _ := doctor(t, l, "--fix"); len(d.Repaired) > 0 {
		t.Errorf("it repaired what a node that is away has: %+v", d.Repaired)
	}
	if err := l.Nodes[1].Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	labtest.Eventually(t, "all is well again", func() error { return healthy(t, l) })
	if err := db.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestANodeThatWasRemovedAndIsNotGoneGetsBackWhatItUses(t *testing.T) {
	l := newLab(t, 2, onePool)
	web, db := container(t, l.Nodes[1], l), member(t, l.Nodes[1], l, "db-0")
	add(t, web)
	add(t, db)
	labtest.Eventually(t, "all is published", func() error { return healthy(t, l) })
	if _, err := l.Nodes[0].Berthctl(t.Context(), "node", "remove", "n2", "--force", "--yes"); err != nil {
		t.Fatal(err)
	}
	// It is not gone after all: it joins again by itself, and asserts what its containers have.
	labtest.Eventually(t, "all is well again", func() error {
		if d, code := doctor(t, l, "--fix"); code != 0 {
			return fmt.Errorf("exit code %d: %s", code, d)
		}
		return healthy(t, l)
	})
	assigned, err := l.Etcd.Get(t.Context(), "/berth/v1/assignments/default/"+web.Address.String())
	if err != nil || len(assigned) != 1 {
		t.Errorf("its container's assignment is %v, %v", assigned, err)
	}
	for _, c := range []*lab.Container{web, db} {
		if err := c.Check(t.Context()); err != nil {
			t.Error(err)
		}
	}
	again := member(t, l.Nodes[0], l, "db-0")
	_, err = again.Add(t.Context())
	refused(t, err, 11, db.ID, "n2")
}
