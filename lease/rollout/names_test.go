package rollout_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/rollout"
)

func TestTheSetOfAllIsThereWhereNothingIs(t *testing.T) {
	v, err := lab.New(t).Store().Rollout.Version(t.Context(), rollout.Selector{})
	if err != nil || !v.Complete || v.Total != 0 {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestAnAppWithoutContainersIsKnownByItsOwnReservationsAlone(t *testing.T) {
	f := lab.NewFleet(t)
	config := f.Apply(f.S, lab.Small())
	for _, node := range []string{"n1", "n2"} {
		f.Report(node, record.Status{Applied: config.Revision, Revision: config.Revision})
	}
	_, err := f.S.Reservations.ReserveFor(t.Context(), config.Pools["default"], config.PoolRevisions["default"], lab.Identity("idle", 0), nil)
	f.Check(err)
	for _, c := range []struct {
		namespace, app, pool string
		known                bool
	}{
		{"ns", "idle", "", true},
		{"ns", "idle", "default", true},
		{"ns", "idle", "small", false},
		{"other", "idle", "", false},
		{"ns", "none", "", false},
	} {
		answers, errs := both(f, rollout.Selector{App: allocator.App{Namespace: c.namespace, Name: c.app}, Pool: c.pool})
		for way, v := range answers {
			if _, unknown := errors.AsType[*rollout.SelectorError](errs[way]); unknown == c.known || c.known && (!v.Complete || v.Total != 0) {
				t.Errorf("%+v, way %d: %+v, %v", c, way, v, errs[way])
			}
		}
	}
}

func TestWhoWaitsForAnAppGoesOnWhileItHasNoContainerForAMoment(t *testing.T) {
	f := lab.NewFleet(t)
	f.Change(1400)
	heard := make(chan int, 1000)
	done := make(chan error, 1)
	go func() {
		app := rollout.Selector{App: allocator.App{Namespace: "ns", Name: "web"}}
		v, err := f.S.Rollout.WaitVersion(t.Context(), app, 0, func(v *rollout.SetVersion) { heard <- v.Total })
		if err == nil && !v.Complete {
			err = errors.New("it ended too early")
		}
		done <- err
	}()
	until := func(total int) {
		t.Helper()
		for end := time.After(time.Minute); ; {
			select {
			case n := <-heard:
				if n == total {
					return
				}
			case err := <-done:
				t.Fatalf("waiting has ended before there were %d containers: %v", total, err)
			case <-end:
				t.Fatalf("it has not heard of %d containers", total)
			}
		}
	}
	until(2)
	for name, b := range f.Blocks { // each is made anew, and the former one goes first
		f.Check(rollout.Publish(t.Context(), f.Nodes[name].Session, rollout.Batch{
			Blocks: []record.Block{b}, Clear: []record.Assignment{{Pool: "default", Address: b.Prefix.Addr().Next()}},
		}))
	}
	until(0)
	for name := range f.Blocks {
		f.Report(name, record.Status{Applied: f.Revision, Revision: f.Revision})
	}
	f.Check(<-done)
}

func TestAContainerWhoseNodeHasNotReportedIsNotUpToDateAndSaysSo(t *testing.T) {
	f := lab.NewFleet(t)
	for name, damage := range map[string]func(key string){
		"no status":      func(key string) { f.Delete(key) },
		"one in tatters": func(key string) { f.Put(key, "{") },
	} {
		damage(f.S.KV.Keys.Status("n1"))
		v := f.Version(rollout.Selector{Node: "n1"})
		if v.Complete || v.UpToDate != 0 || v.Total != 3 || len(v.Nodes) != 1 {
			t.Errorf("%s: %+v", name, v)
		}
		for _, c := range v.Containers {
			if c.UpToDate || !strings.Contains(c.Reason, "has not reported yet") {
				t.Errorf("%s: %+v", name, c)
			}
		}
	}
	f.Delete(f.S.KV.Keys.Revision()) // so that every revision is at least as new
	if v := f.Version(rollout.Selector{Containers: []string{"db"}}); v.Complete || v.UpToDate != 0 {
		t.Errorf("without a revision: %+v", v)
	}
}

func TestOnlyWhatAContainerLacksIsSaidOfIt(t *testing.T) {
	f := lab.NewFleet(t)
	old := f.Revision
	now := f.Change(1400)
	lacks := record.Lag{Attachment: lab.Attachment("n1-aa"), Reason: "it lacks the present dns", Remake: true}
	f.Report("n1", record.Status{Applied: old, Live: now, Revision: now, Lagging: []record.Lag{lacks}, LaggingCount: 1, RemakeCount: 1})
	f.Report("n2", record.Status{Applied: now, Live: now, Revision: now})
	// Of an older revision it lacks nothing.
	before, err := f.S.Rollout.WaitVersion(t.Context(), rollout.Selector{}, old, nil)
	f.Check(err)
	for _, c := range before.Containers {
		if !c.UpToDate || c.Remake || c.Reason != "" {
			t.Errorf("of revision %d: %+v", old, c)
		}
	}
	// To ask for live changes alone says of no other container that it must be made anew.
	for _, c := range f.Version(rollout.Selector{Live: true}).Containers {
		if !c.UpToDate || c.Remake != (c.ID == "n1-aa") || (c.Reason != "") != (c.ID == "n1-aa") {
			t.Errorf("of live changes: %+v", c)
		}
	}
}

func TestAnIDMeansItsContainerAlsoWhereOthersBeginWithIt(t *testing.T) {
	f := lab.NewFleet(t)
	b := f.Blocks["n1"]
	f.Report("n1", record.Status{Applied: f.Revision, Revision: f.Revision}, record.Assignment{
		Pool: "default", Address: b.Prefix.Addr().Next().Next().Next(), Attachment: lab.Attachment("n1-a"), Node: "n1", Since: time.Now(),
	})
	if v := f.Version(rollout.Selector{Containers: []string{"n1-a"}}); ids(v) != "n1-a" {
		t.Errorf("it means %s", ids(v))
	}
	// No name is no beginning, not even of the only one.
	db := allocator.App{Namespace: "ns", Name: "db"}
	if v, err := f.S.Rollout.Version(t.Context(), rollout.Selector{App: db, Containers: []string{""}}); err == nil {
		t.Errorf("the name of nothing means %s", ids(v))
	}
}

func TestASessionWithoutANodeIsNotWaitedForAndANodeThatCannotBeReadIs(t *testing.T) {
	f := lab.NewFleet(t)
	f.Put(f.S.KV.Keys.Session("ghost"), "1")
	if v := f.Version(rollout.Selector{}); !v.Complete {
		t.Errorf("with a session of no node: %+v", v)
	}
	f.Put(f.S.KV.Keys.Node("n2"), "{")
	if v := f.Version(rollout.Selector{Node: "n2"}); ids(v) != "n2-aa n2-ab" {
		t.Errorf("of a node whose record cannot be read: %+v", v)
	}
}

func TestThatNotOnlyLiveChangesCountCanBeSaid(t *testing.T) {
	if set, err := rollout.SelectorOf(map[string][]string{rollout.ByLive: {"false"}}); err != nil || set.Live {
		t.Errorf("%+v, %v", set, err)
	}
}

func TestTheErrorOfASelectorSaysWhatItNamesAndWhatIsThere(t *testing.T) {
	f := lab.NewFleet(t)
	for want, set := range map[string]rollout.Selector{
		`2 containers begin with "n1-a": n1-aa, n1-ab`: {Containers: []string{"n1-a"}},
		`no container "nobody" is in the set`:          {Containers: []string{"nobody"}},
		`no container of app "ns/none" is in the set`:  {App: allocator.App{Namespace: "ns", Name: "none"}},
		`there is no pool "lab"`:                       {Pool: "lab"},
	} {
		if _, err := f.S.Rollout.Version(t.Context(), set); !lab.Contains(err, want) {
			t.Errorf("%+v: error %v, want %s", set, err, want)
		}
	}
}
