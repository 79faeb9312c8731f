package rollout_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/rollout"
)

func ids(v *rollout.SetVersion) string {
	var all []string
	for _, c := range v.Containers {
		all = append(all, c.ID)
	}
	return strings.Join(all, " ")
}

func TestASelectorFindsItsContainers(t *testing.T) {
	f := lab.NewFleet(t)
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
		v := f.Version(c.set)
		if ids(v) != c.want || v.Total != len(v.Containers) || v.UpToDate != v.Total || !v.Complete || v.Revision != f.Revision {
			t.Errorf("%+v: %+v", c.set, v)
		}
	}
	db := f.Version(rollout.Selector{Containers: []string{"db"}}).Containers[0]
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
		_, err := f.S.Rollout.Version(t.Context(), set)
		if _, ok := errors.AsType[*rollout.SelectorError](err); !ok || !lab.Contains(err, name) {
			t.Errorf("%+v: error %v, want one about %s", set, err, name)
		}
	}
}

func TestAContainerIsUpToDateWhenItsNodeSaysSo(t *testing.T) {
	f := lab.NewFleet(t)
	old := f.Revision
	now := f.Change(1400)
	lag := record.Lag{Attachment: lab.Attachment("n1-ab"), Reason: "mtu: refused"}
	other := record.Lag{Attachment: lab.Attachment("gone"), Reason: "mtu: refused"}
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
		f.Report("n1", c.status)
		v := f.Version(rollout.Selector{Node: "n1"})
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

// The status is of a history in which the containers may have got later changes, which etcd has lost.
func TestAfterARestoreAContainerIsUpToDateOnlyOnceItsNodeHasSaidSoAnew(t *testing.T) {
	f := lab.NewFleet(t)
	now := f.Change(1400)
	applied := record.Status{Applied: now, Revision: now}
	f.Report("n1", applied)
	one := rollout.Selector{Node: "n1"}
	if v := f.Version(one); !v.Complete {
		t.Fatalf("before it is %+v", v)
	}
	for _, cluster := range []record.Cluster{{ID: "c0ffee"}, {}} { // that no node has met yet; that one has voided
		f.Put(f.S.KV.Keys.Cluster(), kv.Encode(cluster))
		v := f.Version(one)
		if v.Complete || v.UpToDate > 0 || len(v.Nodes) != 1 || v.Containers[0].Reason != "node n1 has not reported yet" {
			t.Errorf("with the record %+v it is %+v", cluster, v)
		}
		if said, err := f.S.Rollout.Statuses(t.Context()); err != nil || len(said) > 0 {
			t.Errorf("with the record %+v the nodes say %v, %v", cluster, said, err)
		}
	}
	f.Nodes["n1"] = f.Join(f.S, "n1")
	if rollout.Shows(t.Context(), f.Nodes["n1"].Session, applied) {
		t.Error("what does not count counts as published: the node would not say it anew")
	}
	f.Report("n1", applied)
	if v := f.Version(one); !v.Complete {
		t.Errorf("once the node has said it anew it is %+v", v)
	}
	if said, err := f.S.Rollout.Statuses(t.Context()); err != nil || said["n1"].Applied != now {
		t.Errorf("once the node has said it anew the nodes say %v, %v", said, err)
	}
}

func TestASetIsNotCompleteWhileALiveNodeMayHaveMoreOfIt(t *testing.T) {
	f := lab.NewFleet(t)
	f.Change(1400)
	f.Report("n1", record.Status{Applied: f.Revision, Revision: f.Revision})
	app := rollout.Selector{App: allocator.App{Namespace: "ns", Name: "db"}}
	if v := f.Version(app); v.Complete || v.UpToDate != 1 || len(v.Nodes) != 1 || v.Nodes[0].Node != "n2" {
		t.Errorf("the app's set is %+v, and n2 has not said yet that it has none of it", v)
	}
	if v := f.Version(rollout.Selector{Containers: []string{"db"}}); !v.Complete {
		t.Errorf("the named container is up to date, and the set %+v", v)
	}
	if v := f.Version(rollout.Selector{Node: "n1"}); !v.Complete {
		t.Errorf("the node is up to date, and the set %+v", v)
	}
	f.Leave("n2")
	if v := f.Version(app); !v.Complete {
		t.Errorf("with n2 away the app's set is %+v", v)
	}
	v := f.Version(rollout.Selector{})
	if v.Complete || v.UpToDate != 3 || v.Total != 5 {
		t.Errorf("the whole cluster's set is %+v", v)
	}
	for _, c := range v.Containers {
		if away := c.Node == "n2"; away != !c.UpToDate || away && c.Reason != "node n2 is away" {
			t.Errorf("container %+v", c)
		}
	}
	// A node that has just joined has told of nothing yet, whatever revision is asked about.
	f.Keep(f.Join(f.S, "n3"))
	if v := f.Version(app); v.Complete || len(v.Nodes) != 1 || v.Nodes[0].Node != "n3" {
		t.Errorf("with a new node the app's set is %+v", v)
	}
}

func TestWhoWaitsHearsOfEachReportAndEndsWhenTheSetIsComplete(t *testing.T) {
	f := lab.NewFleet(t)
	f.Change(1400)
	heard := make(chan *rollout.SetVersion, 1000)
	done := make(chan error, 1)
	go func() {
		v, err := f.S.Rollout.WaitVersion(t.Context(), rollout.Selector{}, 0, func(v *rollout.SetVersion) { heard <- v })
		if err == nil && (!v.Complete || v.Revision != f.Revision) {
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
	f.Report("n1", record.Status{Applied: f.Revision, Revision: f.Revision})
	until(3)
	f.Report("n2", record.Status{Applied: f.Revision, Revision: f.Revision})
	until(5)
	f.Check(<-done)
}

func TestWhoWaitsForARevisionIsDoneWhenItOrALaterOneIsThere(t *testing.T) {
	f := lab.NewFleet(t)
	before, wanted := f.Revision, f.Change(1400)
	f.Report("n1", record.Status{Applied: wanted, Revision: wanted})
	f.Report("n2", record.Status{Applied: wanted, Revision: wanted})
	f.Change(1300)
	for _, revision := range []int64{before, wanted} {
		if v, err := f.S.Rollout.WaitVersion(t.Context(), rollout.Selector{}, revision,
			nil); err != nil || !v.Complete || v.Revision != revision {
			t.Errorf("revision %d: %+v, %v", revision, v, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	v, err := f.S.Rollout.WaitVersion(ctx, rollout.Selector{}, 0, func(*rollout.SetVersion) { cancel() })
	if !errors.Is(err, context.Canceled) || v == nil || v.Complete || v.Revision != f.Revision {
		t.Errorf("who gave up waiting for the present revision got %+v, %v", v, err)
	}
	if _, err := f.S.Rollout.WaitVersion(t.Context(), rollout.Selector{Containers: []string{"nobody"}}, 0, nil); err == nil {
		t.Error("waiting for a container that is not there has no end")
	}
}

func TestWaitingOutlastsACompaction(t *testing.T) {
	f := lab.NewFleet(t)
	f.Change(1400)
	heard := make(chan struct{}, 1000)
	done := make(chan error, 1)
	go func() {
		_, err := f.S.Rollout.WaitVersion(t.Context(), rollout.Selector{}, 0, func(*rollout.SetVersion) { heard <- struct{}{} })
		done <- err
	}()
	<-heard
	raw := f.Raw()
	response, err := raw.Get(t.Context(), "none")
	f.Check(err)
	_, err = raw.Compact(t.Context(), response.Header.Revision)
	f.Check(err)
	for _, node := range []string{"n1", "n2"} {
		f.Report(node, record.Status{Applied: f.Revision, Revision: f.Revision})
	}
	f.Check(<-done)
}
