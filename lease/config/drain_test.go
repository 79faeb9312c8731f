package config_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/lab"
)

func TestAPoolIsIdleWhereNodesHaveBlocksReadyAndNobodyHasAnAddress(t *testing.T) {
	for use, want := range map[config.PoolUse]bool{
		{}:                           false,
		{Blocks: 2}:                  true,
		{Blocks: 2, Assignments: 1}:  false,
		{Blocks: 2, Attached: 1}:     false,
		{Blocks: 2, Reservations: 1}: false,
		{Blocks: 2, Attached: 1, Reservations: 1}: false,
	} {
		if got := use.Idle(); got != want {
			t.Errorf("%+v is idle: %v", use, got)
		}
	}
}

// drains is a lab whose pool default is draining.
func drains(t *testing.T) (*lab.Lab, *lab.Store) {
	t.Helper()
	l := lab.New(t)
	s := l.Store()
	_, err := s.Editor.Drain(t.Context(), l.Apply(s, lab.Smallest()), "default", config.Note{Who: "tester"})
	l.Check(err)
	return l, s
}

// wait waits until the pool is drained, or has been seen not to be.
func wait(l *lab.Lab, s *lab.Store) (config.PoolUse, error) {
	ctx, cancel := context.WithCancel(l.Context())
	defer cancel()
	return s.Editor.WaitDrained(ctx, "default", func(config.PoolUse) { cancel() })
}

func TestAPoolIsNotDrainedWhileAnythingOfItIsInUse(t *testing.T) {
	const identity = `"identity":{"namespace":"ns","app":"db","member":"db-0","network":"net","interface":"eth0"}`
	const attachment = `"attachment":{"network":"net","container":"c","interface":"eth0"}`
	for name, c := range map[string]struct {
		kind  kv.Kind
		at    string
		value string
		use   config.PoolUse
		waits bool
	}{
		"a node's block": {kv.KindBlock, "10.42.64.0", `{"prefix":"10.42.64.0/26","parts":[{"prefix":"10.42.64.0/26","owner":"n1"}]}`,
			config.PoolUse{Blocks: 1}, true},
		"a block for reservations": {kv.KindBlock, "10.42.0.0", `{"prefix":"10.42.0.0/26","parts":[{"prefix":"10.42.0.0/26","owner":"stateful"}]}`,
			config.PoolUse{}, false},
		"an assignment": {kv.KindAssignment, "10.42.64.9", `{` + attachment + `,"node":"n1"}`, config.PoolUse{Assignments: 1}, true},
		"an attached reservation": {kv.KindReservation, "10.42.0.9", `{` + identity + `,"holder":{` + attachment + `,"node":"n1"}}`,
			config.PoolUse{Attached: 1, Reservations: 1}, true},
		"a reservation": {kv.KindReservation, "10.42.0.9", `{` + identity + `}`, config.PoolUse{Reservations: 1}, false},
	} {
		t.Run(name, func(t *testing.T) {
			l, s := drains(t)
			l.Put(s.KV.Keys.Of(kv.Key{Kind: c.kind, Pool: "default", Address: lab.Addr(c.at)}), c.value)
			use, err := wait(l, s)
			if use != c.use || c.waits != errors.Is(err, context.Canceled) || !c.waits && err != nil {
				t.Errorf("in use are %+v, %v: want %+v", use, err, c.use)
			}
		})
	}
}

func TestARecordThatCannotBeReadIsNoProofThatAPoolIsDrained(t *testing.T) {
	for _, kind := range []kv.Kind{kv.KindBlock, kv.KindAssignment, kv.KindReservation} {
		t.Run(string(kind), func(t *testing.T) {
			l, s := drains(t)
			l.Put(s.KV.Keys.Of(kv.Key{Kind: kind, Pool: "default", Address: lab.Addr("10.42.64.0")}), "{")
			if _, err := wait(l, s); kv.Damage(err) == nil {
				t.Errorf("the answer is %v", err)
			}
		})
	}
}

func TestWhoWaitsForAPoolToDrainHearsThatItIsInUseAgainOrGone(t *testing.T) {
	block := kv.Key{Kind: kv.KindBlock, Pool: "default", Address: lab.Addr("10.42.64.0")}
	for name, change := range map[string]func(l *lab.Lab, s *lab.Store){
		"in use again": func(l *lab.Lab, s *lab.Store) { l.Apply(s, lab.Smallest()) },
		"gone":         func(l *lab.Lab, s *lab.Store) { l.Delete(s.KV.Keys.Pool("default")) },
	} {
		t.Run(name, func(t *testing.T) {
			l, s := drains(t)
			l.Put(s.KV.Keys.Of(block), `{"prefix":"10.42.64.0/26","parts":[{"prefix":"10.42.64.0/26","owner":"n1"}]}`)
			change(l, s)
			if _, err := s.Editor.WaitDrained(t.Context(), "default", nil); !errors.Is(err, config.ErrNotDraining) {
				t.Errorf("the answer is %v", err)
			}
		})
	}
}

func TestAPoolThatIsNotThereIsNotDrained(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	if _, err := s.Editor.Drain(t.Context(), l.Apply(s, lab.Smallest()), "nowhere", config.Note{Who: "tester"}); err == nil ||
		!strings.Contains(err.Error(), `"nowhere": there is no such pool`) {
		t.Errorf("the answer is %v", err)
	}
}
