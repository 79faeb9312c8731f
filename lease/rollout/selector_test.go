package rollout_test

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/admin"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/rollout"
)

func TestASetIsReadFromItsParameters(t *testing.T) {
	got, err := rollout.SelectorOf(map[string][]string{
		rollout.ByContainer: {"a", "b"}, rollout.ByApp: {"shop/web"}, rollout.ByNode: {"n1"}, rollout.ByPool: {"lab"}, rollout.ByLive: {"true"},
	})
	want := rollout.Selector{Containers: []string{"a", "b"}, App: allocator.App{Namespace: "shop", Name: "web"}, Node: "n1", Pool: "lab",
		Live: true}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	if all, err := rollout.SelectorOf(nil); err != nil || !reflect.DeepEqual(all, rollout.Selector{}) {
		t.Errorf("nothing names %+v, %v", all, err)
	}
}

func TestAParameterThatNamesNoSetIsRefusedInWords(t *testing.T) {
	for _, c := range []struct {
		parameter string
		values    []string
		want      string
	}{
		{"ap", []string{"shop/web"}, `"ap" is unknown: there are container, app`},
		{rollout.ByApp, []string{"shop"}, "want NAMESPACE/APP"},
		{rollout.ByApp, []string{"shop/web/web-0"}, "want NAMESPACE/APP"},
		{rollout.ByApp, []string{"/web"}, "want NAMESPACE/APP"},
		{rollout.ByApp, []string{""}, "is empty"},
		{rollout.ByApp, []string{"shop/web", "shop/db"}, "given 2 times"},
		{rollout.ByNode, []string{"a/b"}, `node "a/b"`},
		{rollout.ByNode, []string{""}, "is empty"},
		{rollout.ByPool, []string{"-"}, `pool "-"`},
		{rollout.ByPool, nil, "is empty"},
		{rollout.ByContainer, []string{"a", ""}, "is empty"},
		{rollout.ByLive, []string{"yes"}, "want true or false"},
	} {
		if set, err := rollout.SelectorOf(map[string][]string{c.parameter: c.values}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s=%q: %+v, error %v, want %q", c.parameter, c.values, set, err, c.want)
		}
	}
}

func TestASetThatNamesNothingIsAnError(t *testing.T) {
	f := lab.NewFleet(t)
	for name, set := range map[string]rollout.Selector{
		"ns/none": {App: allocator.App{Namespace: "ns", Name: "none"}},
		"ns/web":  {App: allocator.App{Namespace: "ns", Name: "web"}, Pool: "default", Node: "n3"},
	} {
		_, err := f.S.Rollout.Version(t.Context(), set)
		_, waiting := f.S.Rollout.WaitVersion(t.Context(), set, 0, nil)
		for _, err := range []error{err, waiting} {
			if _, ok := errors.AsType[*rollout.SelectorError](err); !ok {
				t.Errorf("%s: error %v", name, err)
			}
		}
	}
	// An app is also known by what is reserved for it, though none of its members runs.
	pool := f.Config().Pools["default"]
	_, err := f.S.Reservations.ReserveFor(t.Context(), pool, f.Config().PoolRevisions["default"], lab.Identity("idle", 0), nil)
	f.Check(err)
	if v := f.Version(rollout.Selector{App: allocator.App{Namespace: "ns", Name: "idle"}}); !v.Complete || v.Total != 0 {
		t.Errorf("an app with a reservation and no container: %+v", v)
	}
}

func TestARemovedNodeIsNotThere(t *testing.T) {
	f := lab.NewFleet(t)
	f.Leave("n2")
	_, err := f.S.Admin.RemoveNode(t.Context(), "n2", admin.RemoveOptions{Force: true})
	f.Check(err)
	if _, err := f.S.Rollout.Version(t.Context(), rollout.Selector{Node: "n2"}); err == nil {
		t.Error("the version of a removed node's containers is told")
	}
}

func TestWhatOnlyNewContainersGetKeepsASetFromBeingCompleteUnlessOnlyLiveChangesCount(t *testing.T) {
	f := lab.NewFleet(t)
	old := f.Revision
	now := f.Change(1400)
	f.Report("n2", record.Status{Applied: now, Live: now, Revision: now})
	lags := []record.Lag{{Attachment: lab.Attachment("n1-aa"), Reason: "it lacks the present dns", Remake: true}}
	f.Report("n1", record.Status{Applied: old, Live: now, Revision: now, Lagging: lags, LaggingCount: 1, RemakeCount: 1})
	v := f.Version(rollout.Selector{})
	if v.Complete || v.UpToDate != 4 || len(v.Nodes) != 1 || v.Nodes[0].Node != "n1" {
		t.Errorf("the set is %+v", v)
	}
	one := v.Containers[slices.IndexFunc(v.Containers, func(c rollout.ContainerVersion) bool { return c.ID == "n1-aa" })]
	if one.UpToDate || !one.Remake || one.Reason != lags[0].Reason || one.Applied != old {
		t.Errorf("the container that lacks something is %+v", one)
	}
	live := f.Version(rollout.Selector{Live: true})
	if !live.Complete || live.UpToDate != 5 ||
		live.Containers[slices.IndexFunc(live.Containers, func(c rollout.ContainerVersion) bool { return c.ID == "n1-aa" })].Reason == "" {
		t.Errorf("of live changes the set is %+v: want it complete, and the container told", live)
	}
	// One that lags behind a live change counts in both.
	lags = append(lags, record.Lag{Attachment: lab.Attachment("n1-ab"), Reason: "mtu: refused"})
	f.Report("n1", record.Status{Applied: old, Live: old, Revision: now, Lagging: lags, LaggingCount: 2, RemakeCount: 1})
	if live := f.Version(rollout.Selector{Live: true}); live.Complete || live.UpToDate != 4 {
		t.Errorf("of live changes the set is %+v", live)
	}
	// An agent of an older release says nothing of live changes: what all have, they have live.
	f.Report("n1", record.Status{Applied: now, Revision: now})
	if live := f.Version(rollout.Selector{Live: true}); !live.Complete {
		t.Errorf("with an older agent the set is %+v", live)
	}
}

func TestARecordThatCannotBeReadKeepsASetFromBeingComplete(t *testing.T) {
	f := lab.NewFleet(t)
	key := f.S.KV.Keys.Assignment("default", lab.Prefix("10.42.64.9/32").Addr())
	f.Put(key, "{")
	v := f.Version(rollout.Selector{})
	if v.Complete || v.UpToDate != v.Total || len(v.Unreadable) != 1 || v.Unreadable[0] != key {
		t.Errorf("the set is %+v", v)
	}
	if v := f.Version(rollout.Selector{Containers: []string{"db"}}); !v.Complete {
		t.Errorf("a container that is named is %+v", v)
	}
}

func TestTheGateTellsWhatIsUnknownFromWhatIsSwitchedOff(t *testing.T) {
	s := record.DefaultSettings()
	if err := s.Allow(record.OperationDelete); err != nil {
		t.Error(err)
	}
	s.Operations = []string{record.OperationRead, record.OperationInsert}
	for operation, want := range map[string]string{
		"delete": `operation "delete" is switched off by the settings (operations): valid are read, insert`,
		"paint":  `operation "paint" is unknown: valid are read, insert`,
		"":       `operation "" is unknown`,
	} {
		if err := s.Allow(operation); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", operation, err, want)
		}
	}
	s.Operations = nil
	if err := s.Allow(record.OperationRead); err == nil || !strings.Contains(err.Error(), "all are switched off") {
		t.Errorf("%v", err)
	}
}

func TestNoVersionIsAnsweredWhileReadingIsSwitchedOffButHowFarTheClusterIs(t *testing.T) {
	f := lab.NewFleet(t)
	base := f.Config()
	next := base.Clone()
	next.Settings.Operations = nil
	_, err := f.S.Editor.Apply(t.Context(), base, next, config.Note{Who: "test"})
	f.Check(err)
	if v, err := f.S.Rollout.Version(t.Context(), rollout.Selector{}); v != nil || err == nil || !strings.Contains(err.Error(),
		"switched off") {
		t.Errorf("%+v, %v", v, err)
	}
	reports, err := f.S.Rollout.Reports(t.Context())
	f.Check(err)
	if v, off := reports.Overview(); off == nil || v.Total != 5 {
		t.Errorf("%+v, %v", v, off)
	}
}
