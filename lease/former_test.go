package lease_test

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/berth-ipam/berth/lease"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/lab"
)

// The keys of a cluster of the first release: three nodes, each with containers and a member of an app.
func TestTheKeysOfTheFormerReleaseAreRead(t *testing.T) {
	text, err := os.ReadFile("testdata/former-keys.json")
	l := lab.New(t)
	l.Check(err)
	var keys map[string]string
	l.Check(json.Unmarshal(text, &keys))
	for _, key := range slices.Sorted(maps.Keys(keys)) { // a status comes last: the revision that it names is there by then
		l.Put(l.Options.Prefix+strings.TrimPrefix(key, kv.DefaultPrefix), keys[key])
	}
	operator, err := lease.OpenOperator(l.Options)
	l.Check(err)
	defer operator.KV.Close()
	state, err := operator.Admin.State(t.Context())
	l.Check(err)
	for _, bad := range state.Bad {
		t.Errorf("%s cannot be read: %v", bad.Text, bad.Reason)
	}
	if len(state.Nodes) != 3 || len(state.Blocks) != 6 || len(state.Assignments) != 8 ||
		len(state.Reservations) != 3 || len(state.Pools) != 1 {
		t.Errorf("read are %d nodes, %d blocks, %d assignments, %d reservations, %d pools", len(state.Nodes), len(state.Blocks),
			len(state.Assignments), len(state.Reservations), len(state.Pools))
	}
	history, err := operator.Config.History(t.Context())
	if err != nil || len(history) != 1 {
		t.Errorf("the history has %d entries: %v", len(history), err)
	}
}
