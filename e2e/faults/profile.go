package faults

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/berth-ipam/berth/e2e/faults/check"
)

// A Profile is a focused run: a story that goes wrong where one safeguard is missing. Its name is that of the
// broken build which lacks the safeguard; with the ordinary one it finds nothing.
type Profile struct {
	Name    string
	Missing string       // which safeguard
	Finds   []check.Rule // what the story comes to without it: one of these, which nothing else may be taken for
	Mode    string       // of the pool; empty: flat
	Strict  bool
	Seed    uint64
	Rounds  int
	Size    Size
	round   func(s *stage, round int) error
}

// narrow is a pool of 23 addresses for replicas, in six blocks, and 6 for members.
var narrow = Size{
	Nodes: 3, Members: 6, Replicas: 23,
	Pool: netip.MustParsePrefix("10.42.0.0/27"), Stateful: netip.MustParsePrefix("10.42.0.0/29"), Block: 30,
	Session: 2 * time.Second, AddressLease: 6 * time.Second,
}

// slow has a session that is long beside what a request takes.
var slow = Size{
	Nodes: 3, Members: 6, Pool: narrow.Pool, Stateful: narrow.Stateful, Block: narrow.Block, Session: 8 * time.Second,
	AddressLease: 16 * time.Second,
}

// Profiles are all of them.
var Profiles = []Profile{
	{
		Name: "broken_epoch", Missing: "a DEL compares the reservation's epoch",
		Finds: []check.Rule{check.Register, check.Unique}, Seed: 1, Rounds: 4, Size: narrow, round: lateDel,
	},
	{
		Name: "broken_journal", Missing: "an ADD is in the journal before its answer",
		Finds: []check.Rule{check.NotLost}, Seed: 2, Rounds: 6, Size: narrow, round: killAfterAnswer,
	},
	{
		Name: "broken_wait", Missing: "what an absent node holds is taken only after its right has run out",
		Finds: []check.Rule{check.Unique}, Strict: true, Seed: 3, Rounds: 4, Size: slow, round: takeAtOnce,
	},
	{
		Name: "broken_settling", Missing: "who comes back settles before it allocates",
		Finds: []check.Rule{check.Unique}, Seed: 4, Rounds: 3, Size: narrow, round: comeBack,
	},
	{
		Name: "broken_generation", Missing: "what was begun under a former session is not committed under another",
		Finds: []check.Rule{check.Unique, check.Register}, Seed: 5, Rounds: 2, Size: narrow, round: stall,
	},
	{
		Name: "broken_routes", Missing: "the routes of other nodes follow a member that moves",
		Finds: []check.Rule{check.Led}, Mode: "routed", Seed: 6, Rounds: 3, Size: narrow, round: follow,
	},
}

// Named gives the profile of a name.
func Named(name string) (*Profile, error) {
	var known []string
	for i, p := range Profiles {
		if p.Name == name {
			return &Profiles[i], nil
		}
		known = append(known, p.Name)
	}
	return nil, fmt.Errorf("faults: there is no profile %q: want one of %s", name, strings.Join(known, ", "))
}

// Caught gives the first violation that is of a rule which the profile is to find.
func (p *Profile) Caught(v Verdict) (check.Violation, bool) {
	i := slices.IndexFunc(v.Violations, func(v check.Violation) bool { return slices.Contains(p.Finds, v.Rule) })
	if i < 0 {
		return check.Violation{}, false
	}
	return v.Violations[i], true
}

// focus plays a profile's story.
func (w *world) focus(ctx context.Context, o Options) error {
	w.settled = 15 * time.Second
	ending, stop := context.WithCancel(ctx)
	defer stop()
	go w.progress(ending, o.Out)
	go w.supervise(ending)
	s := newStage(ctx, w, o.Focus.Seed)
	for round := range o.Focus.Rounds {
		if ctx.Err() != nil {
			break
		}
		if err := o.Focus.round(s, round); err != nil {
			return fmt.Errorf("faults: round %d of %s: %w", round, o.Focus.Name, err)
		}
		w.count("rounds")
	}
	stop()
	w.ghosts.Wait()
	return nil
}
