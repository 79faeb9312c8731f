package lease

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/berth-ipam/berth/allocator"
)

func TestASetIsReadFromItsParameters(t *testing.T) {
	got, err := SelectorOf(map[string][]string{
		ByContainer: {"a", "b"}, ByApp: {"shop/web"}, ByNode: {"n1"}, ByPool: {"lab"}, ByLive: {"true"},
	})
	want := Selector{Containers: []string{"a", "b"}, App: allocator.App{Namespace: "shop", Name: "web"}, Node: "n1", Pool: "lab", Live: true}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	if all, err := SelectorOf(nil); err != nil || !reflect.DeepEqual(all, Selector{}) {
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
		{ByApp, []string{"shop"}, "want NAMESPACE/APP"},
		{ByApp, []string{"shop/web/web-0"}, "want NAMESPACE/APP"},
		{ByApp, []string{"/web"}, "want NAMESPACE/APP"},
		{ByApp, []string{""}, "is empty"},
		{ByApp, []string{"shop/web", "shop/db"}, "given 2 times"},
		{ByNode, []string{"a/b"}, `node "a/b"`},
		{ByNode, []string{""}, "is empty"},
		{ByPool, []string{"-"}, `pool "-"`},
		{ByPool, nil, "is empty"},
		{ByContainer, []string{"a", ""}, "is empty"},
		{ByLive, []string{"yes"}, "want true or false"},
	} {
		if set, err := SelectorOf(map[string][]string{c.parameter: c.values}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s=%q: %+v, error %v, want %q", c.parameter, c.values, set, err, c.want)
		}
	}
}

func TestASetThatNamesNothingIsAnError(t *testing.T) {
	f := newFleet(t)
	for name, set := range map[string]Selector{
		"ns/none": {App: allocator.App{Namespace: "ns", Name: "none"}},
		"ns/web":  {App: allocator.App{Namespace: "ns", Name: "web"}, Pool: "default", Node: "n3"},
	} {
		_, err := f.s.Version(t.Context(), set)
		_, waiting := f.s.WaitVersion(t.Context(), set, 0, nil)
		for _, err := range []error{err, waiting} {
			if _, ok := errors.AsType[*SelectorError](err); !ok {
				t.Errorf("%s: error %v", name, err)
			}
		}
	}
	// An app is also known by what is reserved for it, though none of its members runs.
	pool := f.config().Pools["default"]
	_, err := f.s.ReserveFor(t.Context(), pool, f.config().PoolRevisions["default"], identity("idle", 0), nil)
	f.check(err)
	if v := f.version(Selector{App: allocator.App{Namespace: "ns", Name: "idle"}}); !v.Complete || v.Total != 0 {
		t.Errorf("an app with a reservation and no container: %+v", v)
	}
}

func TestARemovedNodeIsNotThere(t *testing.T) {
	f := newFleet(t)
	f.leave("n2")
	_, err := f.s.RemoveNode(t.Context(), "n2", RemoveOptions{Force: true})
	f.check(err)
	if _, err := f.s.Version(t.Context(), Selector{Node: "n2"}); err == nil {
		t.Error("the version of a removed node's containers is told")
	}
}

func TestWhatOnlyNewContainersGetKeepsASetFromBeingCompleteUnlessOnlyLiveChangesCount(t *testing.T) {
	f := newFleet(t)
	old := f.revision
	now := f.change(1400)
	f.report("n2", Status{Applied: now, Live: now, Revision: now})
	lags := []Lag{{Attachment: attachment("n1-aa"), Reason: "it lacks the present dns", Remake: true}}
	f.report("n1", Status{Applied: old, Live: now, Revision: now, Lagging: lags, LaggingCount: 1, RemakeCount: 1})
	v := f.version(Selector{})
	if v.Complete || v.UpToDate != 4 || len(v.Nodes) != 1 || v.Nodes[0].Node != "n1" {
		t.Errorf("the set is %+v", v)
	}
	one := v.Containers[slices.IndexFunc(v.Containers, func(c ContainerVersion) bool { return c.ID == "n1-aa" })]
	if one.UpToDate || !one.Remake || one.Reason != lags[0].Reason || one.Applied != old {
		t.Errorf("the container that lacks something is %+v", one)
	}
	live := f.version(Selector{Live: true})
	if !live.Complete || live.UpToDate != 5 ||
		live.Containers[slices.IndexFunc(live.Containers, func(c ContainerVersion) bool { return c.ID == "n1-aa" })].Reason == "" {
		t.Errorf("of live changes the set is %+v: want it complete, and the container told", live)
	}
	// One that lags behind a live change counts in both.
	lags = append(lags, Lag{Attachment: attachment("n1-ab"), Reason: "mtu: refused"})
	f.report("n1", Status{Applied: old, Live: old, Revision: now, Lagging: lags, LaggingCount: 2, RemakeCount: 1})
	if live := f.version(Selector{Live: true}); live.Complete || live.UpToDate != 4 {
		t.Errorf("of live changes the set is %+v", live)
	}
	// An agent of an older release says nothing of live changes: what all have, they have live.
	f.report("n1", Status{Applied: now, Revision: now})
	if live := f.version(Selector{Live: true}); !live.Complete {
		t.Errorf("with an older agent the set is %+v", live)
	}
}

func TestARecordThatCannotBeReadKeepsASetFromBeingComplete(t *testing.T) {
	f := newFleet(t)
	key := f.s.keys.assignment("default", prefix("10.42.64.9/32").Addr())
	f.put(key, "{")
	v := f.version(Selector{})
	if v.Complete || v.UpToDate != v.Total || len(v.Unreadable) != 1 || v.Unreadable[0] != key {
		t.Errorf("the set is %+v", v)
	}
	if v := f.version(Selector{Containers: []string{"db"}}); !v.Complete {
		t.Errorf("a container that is named is %+v", v)
	}
}

func TestTheGateTellsWhatIsUnknownFromWhatIsSwitchedOff(t *testing.T) {
	s := DefaultSettings()
	if err := s.Allow(OperationDelete); err != nil {
		t.Error(err)
	}
	s.Operations = []string{OperationRead, OperationInsert}
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
	if err := s.Allow(OperationRead); err == nil || !strings.Contains(err.Error(), "all are switched off") {
		t.Errorf("%v", err)
	}
}

func TestNoVersionIsToldWhileReadingIsSwitchedOffButHowFarTheClusterIs(t *testing.T) {
	f := newFleet(t)
	base := f.config()
	next := base.Clone()
	next.Settings.Operations = nil
	_, err := f.s.Apply(t.Context(), base, next, Note{Who: "test"})
	f.check(err)
	if v, err := f.s.Version(t.Context(), Selector{}); v != nil || err == nil || !strings.Contains(err.Error(), "switched off") {
		t.Errorf("%+v, %v", v, err)
	}
	reports, err := f.s.Reports(t.Context())
	f.check(err)
	if v, off := reports.Overview(); off == nil || v.Total != 5 {
		t.Errorf("%+v, %v", v, off)
	}
}

func (f *fleet) config() *Config {
	f.Helper()
	c, err := f.s.Config(f.Context())
	f.check(err)
	return c
}
