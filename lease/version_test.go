package lease

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/reservation"
	"github.com/berth-ipam/berth/lease/rollout"
)

// A fleet is two nodes with two stateless containers each, and a stateful one on the first.
type fleet struct {
	*lab
	s        *Store
	revision int64
	nodes    map[string]*joined
	blocks   map[string]record.Block
}

func newFleet(t *testing.T) *fleet {
	f := &fleet{lab: newLab(t), nodes: map[string]*joined{}, blocks: map[string]record.Block{}}
	f.s = f.store()
	config := f.apply(f.s, smallest())
	f.revision = config.Revision
	for name, block := range map[string]string{"n1": "10.42.64.0/26", "n2": "10.42.65.0/26"} {
		x := f.join(f.s, name)
		b, err := x.ClaimBlock(t.Context(), "default", config.PoolRevisions["default"], prefix(block))
		f.check(err)
		f.keep(x)
		f.nodes[name], f.blocks[name] = x, b
		first := b.Prefix.Addr().Next()
		f.report(name, record.Status{Applied: f.revision, Revision: f.revision, Containers: 2},
			record.Assignment{Pool: "default", Address: first, Attachment: attachment(name + "-aa"), App: allocator.App{Namespace: "ns",
				Name: "web"},
				Node: name, Since: time.Now()},
			record.Assignment{Pool: "default", Address: first.Next(), Attachment: attachment(name + "-ab"), Node: name, Since: time.Now()})
	}
	request := reservation.Request{
		Pool: config.Pools["default"], PoolRevision: config.PoolRevisions["default"], Identity: identity("db", 0), Attachment: attachment("db"),
	}
	_, err := f.nodes["n1"].Reserve(t.Context(), []reservation.Request{request})
	f.check(err)
	return f
}

func (f *fleet) report(node string, status record.Status, set ...record.Assignment) {
	f.Helper()
	batch := rollout.Batch{Status: status, Set: set}
	if len(set) > 0 {
		batch.Blocks = []record.Block{f.blocks[node]}
	}
	f.check(f.nodes[node].Publish(f.Context(), batch))
}

// change makes a new revision.
func (f *fleet) change(mtu int) int64 {
	f.Helper()
	pool := smallest()
	pool.MTU = mtu
	f.revision = f.apply(f.s, pool).Revision
	return f.revision
}

func (f *fleet) version(set rollout.Selector) *rollout.SetVersion {
	f.Helper()
	v, err := f.s.Rollout.Version(f.Context(), set)
	f.check(err)
	return v
}

// leave ends a node's session at once.
func (f *fleet) leave(node string) {
	f.Helper()
	f.delete(f.s.KV.Keys.Session(node))
}

func ids(v *rollout.SetVersion) string {
	var all []string
	for _, c := range v.Containers {
		all = append(all, c.ID)
	}
	return strings.Join(all, " ")
}

func TestASelectorFindsItsContainers(t *testing.T) {
	f := newFleet(t)
	for _, c := range []struct {
		set  rollout.Selector
		want string
	}{
		{rollout.Selector{}, "db n1-aa n1-ab n2-aa n2-ab"},
		{rollout.Selector{Pool: "default"}, "db n1-aa n1-ab n2-aa n2-ab"},
		{rollout.Selector{Node: "n1"}, "db n1-aa n1-ab"},
		{rollout.Selector{App: allocator.App{Namespace: "ns", Name: "web"}}, "n1-aa n2-aa"},
		{rollout.Selector{App: allocator.App{Namespace: "ns", Name: "web"}, Node: "n2"}, "n2-aa"},
		{rollout.Selector{App: allocator.App{Namespace: "ns", Name: "db"}}, "db"},
		{rollout.Selector{Containers: []string{"n2-aa", "d"}}, "db n2-aa"},
	} {
		v := f.version(c.set)
		if ids(v) != c.want || v.Total != len(v.Containers) || v.UpToDate != v.Total || !v.Complete || v.Revision != f.revision {
			t.Errorf("%+v: %+v", c.set, v)
		}
	}
	db := f.version(rollout.Selector{Containers: []string{"db"}}).Containers[0]
	if db.Class != "stateful" || db.Namespace != "ns" || db.App != "db" || db.Member != "db-0" || db.Pool != "default" || db.Node != "n1" ||
		len(db.Addresses) != 1 {
		t.Errorf("the stateful container is %+v", db)
	}
	for name, set := range map[string]rollout.Selector{
		`"n3"`:       {Node: "n3"},
		`"lab"`:      {Pool: "lab"},
		`"nobody"`:   {Containers: []string{"db", "nobody"}},
		`"n2-"`:      {Containers: []string{"n2-"}},
		"in the set": {Containers: []string{"n2-aa"}, Node: "n1"},
	} {
		_, err := f.s.Rollout.Version(t.Context(), set)
		if _, ok := errors.AsType[*rollout.SelectorError](err); !ok || !contains(err, name) {
			t.Errorf("%+v: error %v, want one about %s", set, err, name)
		}
	}
}

func TestAContainerIsUpToDateWhenItsNodeSaysSo(t *testing.T) {
	f := newFleet(t)
	old := f.revision
	now := f.change(1400)
	lag := record.Lag{Attachment: attachment("n1-ab"), Reason: "mtu: refused"}
	other := record.Lag{Attachment: attachment("gone"), Reason: "mtu: refused"}
	for _, c := range []struct {
		name   string
		status record.Status
		want   map[string]string // the reasons by container; those that are up to date are not there
	}{
		{"nothing applied", record.Status{Applied: old, Revision: old}, map[string]string{"n1-aa": "revision", "n1-ab": "revision",
			"db": "revision"}},
		{"all applied", record.Status{Applied: now, Revision: now}, nil},
		{"one lags", record.Status{Applied: old, Revision: now, Lagging: []record.Lag{lag}, LaggingCount: 1},
			map[string]string{"n1-ab": "mtu: refused"}},
		{"not all laggards are named", record.Status{Applied: old, Revision: now, Lagging: []record.Lag{other}, LaggingCount: 2},
			map[string]string{"n1-aa": "names 1", "n1-ab": "names 1", "db": "names 1"}},
		{"laggards of an older revision", record.Status{Applied: old, Revision: old, Lagging: []record.Lag{lag}, LaggingCount: 1},
			map[string]string{"n1-aa": "revision", "n1-ab": "mtu: refused", "db": "revision"}},
	} {
		f.report("n1", c.status)
		v := f.version(rollout.Selector{Node: "n1"})
		if v.Complete != (c.want == nil) || v.UpToDate != 3-len(c.want) || (len(v.Nodes) == 0) != (c.want == nil) {
			t.Errorf("%s: %+v", c.name, v)
		}
		for _, container := range v.Containers {
			reason, late := c.want[container.ID]
			if container.UpToDate == late || !strings.Contains(container.Reason, reason) || container.UpToDate != (container.Reason == "") {
				t.Errorf("%s: %+v, want reason %q", c.name, container, reason)
			}
			if container.UpToDate != (container.Applied == now) {
				t.Errorf("%s: %+v has applied what it says not", c.name, container)
			}
		}
	}
}

func TestASetIsNotCompleteWhileALiveNodeMayHaveMoreOfIt(t *testing.T) {
	f := newFleet(t)
	f.change(1400)
	f.report("n1", record.Status{Applied: f.revision, Revision: f.revision})
	app := rollout.Selector{App: allocator.App{Namespace: "ns", Name: "db"}}
	if v := f.version(app); v.Complete || v.UpToDate != 1 || len(v.Nodes) != 1 || v.Nodes[0].Node != "n2" {
		t.Errorf("the app's set is %+v, and n2 has not said yet that it has none of it", v)
	}
	if v := f.version(rollout.Selector{Containers: []string{"db"}}); !v.Complete {
		t.Errorf("the named container is up to date, and the set %+v", v)
	}
	if v := f.version(rollout.Selector{Node: "n1"}); !v.Complete {
		t.Errorf("the node is up to date, and the set %+v", v)
	}
	f.leave("n2")
	if v := f.version(app); !v.Complete {
		t.Errorf("with n2 away the app's set is %+v", v)
	}
	v := f.version(rollout.Selector{})
	if v.Complete || v.UpToDate != 3 || v.Total != 5 {
		t.Errorf("the whole cluster's set is %+v", v)
	}
	for _, c := range v.Containers {
		if away := c.Node == "n2"; away != !c.UpToDate || away && c.Reason != "node n2 is away" {
			t.Errorf("container %+v", c)
		}
	}
	// A node that has just joined has told of nothing yet, whatever revision is asked about.
	f.keep(f.join(f.s, "n3"))
	if v := f.version(app); v.Complete || len(v.Nodes) != 1 || v.Nodes[0].Node != "n3" {
		t.Errorf("with a new node the app's set is %+v", v)
	}
}

func TestWhoWaitsHearsOfEachReportAndEndsWhenTheSetIsComplete(t *testing.T) {
	f := newFleet(t)
	f.change(1400)
	heard := make(chan *rollout.SetVersion, 1000)
	done := make(chan error, 1)
	go func() {
		v, err := f.s.Rollout.WaitVersion(t.Context(), rollout.Selector{}, 0, func(v *rollout.SetVersion) { heard <- v })
		if err == nil && (!v.Complete || v.Revision != f.revision) {
			err = errors.New("it ended too early")
		}
		done <- err
	}()
	until := func(upToDate int) {
		t.Helper()
		for end := time.After(20 * time.Second); ; {
			select {
			case v := <-heard:
				if v.UpToDate == upToDate {
					return
				}
			case <-end:
				t.Fatalf("it has not heard of %d containers", upToDate)
			}
		}
	}
	until(0)
	f.report("n1", record.Status{Applied: f.revision, Revision: f.revision})
	until(3)
	f.report("n2", record.Status{Applied: f.revision, Revision: f.revision})
	until(5)
	f.check(<-done)
}

func TestWhoWaitsForARevisionIsDoneWhenItOrALaterOneIsThere(t *testing.T) {
	f := newFleet(t)
	before, wanted := f.revision, f.change(1400)
	f.report("n1", record.Status{Applied: wanted, Revision: wanted})
	f.report("n2", record.Status{Applied: wanted, Revision: wanted})
	f.change(1300)
	for _, revision := range []int64{before, wanted} {
		if v, err := f.s.Rollout.WaitVersion(t.Context(), rollout.Selector{}, revision,
			nil); err != nil || !v.Complete || v.Revision != revision {
			t.Errorf("revision %d: %+v, %v", revision, v, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	v, err := f.s.Rollout.WaitVersion(ctx, rollout.Selector{}, 0, func(*rollout.SetVersion) { cancel() })
	if !errors.Is(err, context.Canceled) || v == nil || v.Complete || v.Revision != f.revision {
		t.Errorf("who gave up waiting for the present revision got %+v, %v", v, err)
	}
	if _, err := f.s.Rollout.WaitVersion(t.Context(), rollout.Selector{Containers: []string{"nobody"}}, 0, nil); err == nil {
		t.Error("waiting for a container that is not there has no end")
	}
}

func TestWaitingOutlastsACompaction(t *testing.T) {
	f := newFleet(t)
	f.change(1400)
	heard := make(chan struct{}, 1000)
	done := make(chan error, 1)
	go func() {
		_, err := f.s.Rollout.WaitVersion(t.Context(), rollout.Selector{}, 0, func(*rollout.SetVersion) { heard <- struct{}{} })
		done <- err
	}()
	<-heard
	raw := f.raw()
	response, err := raw.Get(t.Context(), "none")
	f.check(err)
	_, err = raw.Compact(t.Context(), response.Header.Revision)
	f.check(err)
	for _, node := range []string{"n1", "n2"} {
		f.report(node, record.Status{Applied: f.revision, Revision: f.revision})
	}
	f.check(<-done)
}
