package admin_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/berth-ipam/berth/lease/admin"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
)

// What cannot be read may be the node's: it is waited for as what is.
func TestARemovalWaitsForTheLongestRightToAnythingThatTheNodeMayHold(t *testing.T) {
	const session, addressLease = 15 * time.Second, time.Hour
	part := func(owner string) string {
		return fmt.Sprintf(`{"prefix":"10.42.64.0/26","parts":[{"prefix":"10.42.64.0/26","owner":"%s"}]}`, owner)
	}
	held := func(node string) string {
		return fmt.Sprintf(`{"identity":{"namespace":"ns","app":"db","member":"db-0","network":"net","interface":"eth0"},
			"holder":{"attachment":{"network":"net","container":"c","interface":"eth0"},"node":"%s"}}`, node)
	}
	for name, c := range map[string]struct {
		fencing            string
		block, reservation string
		waits              time.Duration
	}{
		"nothing":                        {record.FencingStrict, "", "", 0},
		"a block":                        {record.FencingEvidence, part("n1"), "", addressLease},
		"another's block":                {record.FencingEvidence, part("n2"), "", 0},
		"a block that cannot be read":    {record.FencingEvidence, "{", "", addressLease},
		"a member":                       {record.FencingStrict, "", held("n1"), session},
		"another's member":               {record.FencingStrict, "", held("n2"), 0},
		"a member that cannot be read":   {record.FencingStrict, "", "{", session},
		"a member, and no fence":         {record.FencingEvidence, "", held("n1"), 0},
		"one that cannot be, and none":   {record.FencingEvidence, "", "{", 0},
		"a member in another's block":    {record.FencingStrict, part("n2"), held("n1"), session},
		"a member and a damaged block":   {record.FencingStrict, "{", held("n1"), addressLease},
		"another's and a damaged member": {record.FencingStrict, part("n2"), "{", session},
	} {
		t.Run(name, func(t *testing.T) {
			l := lab.New(t)
			s := l.Store()
			l.Apply(s, lab.Smallest())
			l.Put(s.KV.Keys.Node("n1"), fmt.Sprintf(`{"name":"n1","machine":"m","fencing":"%s","session":"15s","addressLease":"1h"}`, c.fencing))
			block, reservation := s.KV.Keys.Block("default", lab.Prefix("10.42.64.0/26")), s.KV.Keys.Reservation("default", lab.Addr("10.42.0.9"))
			for key, value := range map[string]string{block: c.block, reservation: c.reservation} {
				if value != "" {
					l.Put(key, value)
				}
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var waits time.Duration
			_, err := s.Admin.RemoveNode(ctx, "n1", admin.RemoveOptions{Waiting: func(left time.Duration) {
				waits = max(waits, left)
				cancel()
			}})
			if waits > c.waits+c.waits/10 || c.waits > 0 && waits <= c.waits || (waits > 0) != errors.Is(err, context.Canceled) {
				t.Errorf("it waits for %v, %v: want the right of %v and a tenth", waits, err, c.waits)
			}
			if c.reservation == held("n2") {
				got, err := s.KV.Get(t.Context(), reservation)
				if l.Check(err); string(got.Kvs[0].Value) != c.reservation {
					t.Errorf("another node's member has %s", got.Kvs[0].Value)
				}
			}
		})
	}
}

func TestANodeWithoutARecordIsNotRemovedWhereTheSettingsAreNotKnown(t *testing.T) {
	l := lab.New(t)
	l.Own()
	s := l.Store()
	base := l.Apply(s, lab.Smallest())
	next := base.Clone()
	next.Settings.Fencing = record.FencingStrict
	l.Check(lab.Second(s.Editor.Apply(t.Context(), base, next, config.Note{Who: "tester"})))
	l.Put(s.KV.Keys.Block("default", lab.Prefix("10.42.64.0/26")),
		`{"prefix":"10.42.64.0/26","parts":[{"prefix":"10.42.64.0/26","owner":"n1"}]}`)
	for _, key := range []string{s.KV.Keys.Revision(), s.KV.Keys.Settings(), s.KV.Keys.Under(kv.KindHistory)} {
		l.Delete(key)
	}
	now, err := l.Raw().Get(t.Context(), "nothing")
	l.Check(err)
	l.Check(lab.Second(l.Raw().Compact(t.Context(), now.Header.Revision)))
	if removal, err := s.Admin.RemoveNode(t.Context(), "n1", admin.RemoveOptions{}); err == nil || !strings.Contains(err.Error(),
		"which settings it followed is not known") {
		t.Errorf("it took %+v, %v", removal, err)
	}
}

func TestARemovalTakesNothingFromOtherNodes(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	l.Apply(s, lab.Smallest())
	keys := s.KV.Keys
	block := keys.Block("default", lab.Prefix("10.42.64.0/26"))
	const part = `{"prefix":"10.42.64.%d/%d","owner":"%s"}`
	l.Put(block, `{"prefix":"10.42.64.0/26","parts":[`+fmt.Sprintf(part, 0, 27, "ghost")+","+fmt.Sprintf(part, 32, 28, "n2")+`,
		{"prefix":"10.42.64.50/32","owner":"machine","node":"ghost"},{"prefix":"10.42.64.51/32","owner":"machine","node":"n2"}]}`)
	others := map[string]string{
		keys.Assignment("default", lab.Addr("10.42.64.33")): `{"attachment":{"network":"net","container":"c","interface":"eth0"},"node":"n2"}`,
		keys.Reservation("default", lab.Addr("10.42.0.9")): `{"identity":{"namespace":"ns","app":"db","member":"db-0","network":"net",
			"interface":"eth0"},"holder":{"attachment":{"network":"net","container":"m","interface":"eth0"},"node":"n2"}}`,
		keys.Reservation("default", lab.Addr("10.42.0.10")): `{"identity":{"namespace":"ns","app":"db","member":"db-1","network":"net",
			"interface":"eth0"}}`,
		keys.Status("n2"): `{"applied":1}`,
	}
	for key, value := range others {
		l.Put(key, value)
	}
	removal, err := s.Admin.RemoveNode(t.Context(), "ghost", admin.RemoveOptions{Force: true})
	l.Check(err)
	if removal.Parts != 2 || removal.Assignments+removal.Reservations != 0 {
		t.Errorf("it took %+v", removal)
	}
	for key, value := range others {
		got, err := s.KV.Get(t.Context(), key)
		if l.Check(err); len(got.Kvs) != 1 || string(got.Kvs[0].Value) != value {
			t.Errorf("%s is %v", key, got.Kvs)
		}
	}
	state, err := s.Admin.State(t.Context())
	l.Check(err)
	if b := state.Blocks[0]; len(b.Parts) != 2 || len(b.Of("n2")) != 1 || len(b.Machines()) != 1 || b.Machines()[0].Node != "n2" {
		t.Errorf("the block is %+v", b)
	}
	stone := kv.Key{Kind: kv.KindNode, Node: "ghost"}
	if state.Nodes["ghost"].Removed == nil {
		t.Errorf("in the place of its record is %+v", state.Nodes["ghost"])
	}
	l.Check(lab.Second(s.Admin.RemoveNode(t.Context(), "ghost", admin.RemoveOptions{})))
	if again, err := s.Admin.State(t.Context()); err != nil || again.RevisionOf(stone) != state.RevisionOf(stone) {
		t.Errorf("a second removal has written the tombstone anew: %v", err)
	}
}
