package rollout_test

import (
	"errors"
	"testing"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/rollout"
)

// both are the ways to judge a set: by what is read for its pool alone, as berthctl does, and by what is read once for many sets, as
// the agent does.
func both(f *lab.Fleet, set rollout.Selector) (answers [2]*rollout.SetVersion, errs [2]error) {
	f.Helper()
	answers[0], errs[0] = f.S.Rollout.Version(f.Context(), set)
	reports, err := f.S.Rollout.Reports(f.Context())
	f.Check(err)
	answers[1], errs[1] = reports.Version(set)
	return answers, errs
}

func TestASetOfAPoolIsThePoolsAloneOnEveryWay(t *testing.T) {
	f := lab.NewFleet(t)
	config := f.Apply(f.S, lab.Small())
	f.Revision = config.Revision
	b, err := block.Claim(t.Context(), f.Nodes["n2"].Session, "small", config.PoolRevisions["small"], lab.Prefix("10.1.0.0/29"))
	f.Check(err)
	f.Report("n1", record.Status{Applied: f.Revision, Revision: f.Revision})
	f.Check(rollout.Publish(t.Context(), f.Nodes["n2"].Session, rollout.Batch{
		Status: record.Status{Applied: f.Revision, Revision: f.Revision}, Blocks: []record.Block{b},
		Set: []record.Assignment{{Pool: "small", Address: lab.Addr("10.1.0.2"), Attachment: lab.Attachment("n2-small"),
			App: allocator.App{Namespace: "ns", Name: "little"}, Node: "n2", Since: time.Now()}},
	}))
	for pool, want := range map[string]string{"small": "n2-small", "default": "db n1-aa n1-ab n2-aa n2-ab"} {
		answers, errs := both(f, rollout.Selector{Pool: pool})
		for way, v := range answers {
			if f.Check(errs[way]); !v.Complete || ids(v) != want || v.Total != len(v.Containers) || v.UpToDate != v.Total {
				t.Errorf("pool %s, way %d: %+v, want %s", pool, way, v, want)
			}
		}
	}
	for name, set := range map[string]rollout.Selector{
		"an app of the other pool":       {Pool: "small", App: allocator.App{Namespace: "ns", Name: "web"}},
		"a member's app":                 {Pool: "small", App: allocator.App{Namespace: "ns", Name: "db"}},
		"a container of the other pool":  {Pool: "small", Containers: []string{"n1-aa"}},
		"a container of the first pool":  {Pool: "default", Containers: []string{"n2-small"}},
		"an app of the first pool alone": {Pool: "default", App: allocator.App{Namespace: "ns", Name: "little"}},
	} {
		_, errs := both(f, set)
		for way, err := range errs {
			if _, ok := errors.AsType[*rollout.SelectorError](err); !ok {
				t.Errorf("%s, way %d: error %v, want one that the set names nothing", name, way, err)
			}
		}
	}
	// What cannot be read in one pool is of no container of the other.
	keys := f.S.KV.Keys
	for _, damaged := range []string{keys.Assignment("default", lab.Addr("10.42.64.9")), keys.Reservation("default", lab.Addr("10.42.9.9"))} {
		f.Put(damaged, "{")
		for pool, complete := range map[string]bool{"small": true, "default": false, "": false} {
			answers, errs := both(f, rollout.Selector{Pool: pool})
			for way, v := range answers {
				if f.Check(errs[way]); v.Complete != complete || (len(v.Unreadable) == 0) != complete {
					t.Errorf("pool %q with %s damaged, way %d: %+v", pool, damaged, way, v)
				}
			}
		}
		f.Delete(damaged)
	}
}
