package block_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/session"
)

// A scene is a block of n1's, one of n9's, which is gone, and a demand of n2's.
type scene struct {
	*lab.Bubble
	c            *config.Config
	s            *lab.Store
	x, other     *lab.Joined
	mine, theirs record.Block
	gone         record.Absence
	demand       record.Demand
}

func inScene(t *testing.T, test func(sc *scene)) {
	t.Helper()
	lab.InBubble(t, func(b *lab.Bubble) {
		sc := &scene{Bubble: b, s: b.Store(), c: b.Apply(b.Store(), lab.Smallest())}
		sc.x, sc.other = sc.lasting("n1"), sc.lasting("n2")
		sc.reset()
		test(sc)
	})
}

// lasting is a node whose session outlasts a test.
func (sc *scene) lasting(name string) *lab.Joined {
	sc.Helper()
	n := lab.Node(name)
	n.Session, n.AddressLease = allocator.Duration(240*time.Hour), allocator.Duration(240*time.Hour)
	x, err := sc.s.Join(sc.Context(), n)
	sc.Check(err)
	return x
}

// reset makes all as at the beginning.
func (sc *scene) reset() {
	sc.Helper()
	keys := sc.s.KV.Keys
	sc.Delete(keys.Under(kv.KindBlock))
	n9 := sc.lasting("n9")
	sc.mine, sc.theirs = sc.Claims(sc.x, sc.c, "10.42.16.0/26"), sc.Claims(n9, sc.c, "10.42.17.0/26")
	sc.Delete(keys.Session("n9"))
	sc.gone = record.Absence{Node: "n9", Revision: n9.Generation()}
	sc.demand = sc.Demand(sc.other)
}

// each is everything that changes a block.
func (sc *scene) each() map[string]func() error {
	revision, pool := sc.c.PoolRevisions["default"], sc.c.Pools["default"]
	part, asserted := lab.Prefix("10.42.16.8/32"), lab.Prefix("10.42.17.0/26")
	return map[string]func() error{
		"claim": func() error {
			return lab.Second(block.Claim(sc.Context(), sc.x.Session, "default", revision, asserted))
		},
		"release": func() error { return lab.Second(block.Release(sc.Context(), sc.x.Session, sc.mine, part)) },
		"resolve": func() error { return lab.Second(block.Resolve(sc.Context(), sc.x.Session, sc.mine)) },
		"assert": func() error {
			return lab.Second(block.Assert(sc.Context(), sc.x.Session, "default", asserted, []netip.Prefix{asserted}))
		},
		"transfer": func() error { return lab.Second(block.Transfer(sc.Context(), sc.x.Session, sc.mine, part, sc.demand)) },
		"take": func() error {
			return lab.Second(block.TakeOver(sc.Context(), sc.x.Session, sc.theirs, revision, sc.gone))
		},
		"claim machine": func() error {
			return sc.machine(block.ClaimMachine(sc.Context(), sc.x.Session, pool, revision, part.Addr(), true))
		},
		"release machine": func() error {
			return sc.machine(block.ReleaseMachine(sc.Context(), sc.x.Session, pool, revision, part.Addr()))
		},
	}
}

func (sc *scene) machine(_ record.Block, err error) error { return err }

func TestWhatEtcdDoesNotAnswerOfBlocksIsNeitherAbsentNorDone(t *testing.T) {
	inScene(t, func(sc *scene) {
		keys := sc.s.KV.Keys
		for what := range sc.each() {
			prepare := sc.reset
			switch what {
			case "claim", "assert":
				prepare = func() { sc.reset(); sc.Delete(keys.Block("default", sc.theirs.Prefix)) }
			case "release machine":
				prepare = func() { sc.reset(); sc.Check(sc.each()["claim machine"]()) }
			}
			sc.Throughout(what, prepare, func() error { return sc.each()[what]() })
		}
		sc.reset()
		nothing, s := func() {}, sc.s.Blocks
		sc.Throughout("a demand", nothing, func() error { return lab.Second(block.Demand(sc.Context(), sc.x.Session, sc.demand)) })
		sc.Throughout("a withdrawal", nothing, func() error { return block.Withdraw(sc.Context(), sc.x.Session, "default") })
		sc.Throughout("the blocks", nothing, func() error { return lab.Second(s.List(sc.Context())) })
		sc.Throughout("the demands", nothing, func() error { return lab.Second(s.Demands(sc.Context())) })
		sc.Throughout("the assignments", nothing, func() error { return lab.Second(s.Assignments(sc.Context())) })
		sc.Throughout("a block as it was", func() { sc.reset(); sc.Put(keys.Block("default", sc.mine.Prefix), "{") }, func() error {
			return lab.Second(s.Before(sc.Context(), "default", sc.mine.Prefix))
		})
	})
}

func TestWhoseABlockWithADamagedRecordIsNobodyChanges(t *testing.T) {
	inScene(t, func(sc *scene) {
		keys := sc.s.KV.Keys
		for _, b := range []record.Block{sc.mine, sc.theirs} {
			sc.Put(keys.Block("default", b.Prefix), "{")
		}
		for what, do := range sc.each() {
			err := do()
			if kv.Damage(err) == nil || !strings.Contains(err.Error(), "lease: ") || !strings.Contains(err.Error(), `"n1"`) {
				t.Errorf("%s: %v", what, err)
			}
		}
		for _, b := range []record.Block{sc.mine, sc.theirs} {
			got, err := sc.Raw().Get(sc.Context(), keys.Block("default", b.Prefix))
			sc.Check(err)
			if string(got.Kvs[0].Value) != "{" {
				t.Errorf("%s is %s", b.Prefix, got.Kvs[0].Value)
			}
			if was, err := sc.s.Blocks.Before(sc.Context(), "default", b.Prefix); err != nil || was.Revision != b.Revision {
				t.Errorf("%s was %+v, %v", b.Prefix, was, err)
			}
		}
		if was, err := sc.s.Blocks.Before(sc.Context(), "default", lab.Prefix("10.42.18.0/26")); err != nil || was.Revision != 0 ||
			was.Prefix != lab.Prefix("10.42.18.0/26") || was.Pool != "default" {
			t.Errorf("one that never was is %+v, %v", was, err)
		}
	})
}

func TestWhoIsAlwaysForestalledAtABlockGivesUp(t *testing.T) {
	for _, what := range []string{"claim machine", "release machine", "assert", "claim"} {
		t.Run(what, func(t *testing.T) {
			inScene(t, func(sc *scene) {
				keys := sc.s.KV.Keys
				if what == "release machine" {
					sc.Check(sc.each()["claim machine"]())
				}
				values, n := []string{}, 0
				for _, at := range []netip.Prefix{sc.mine.Prefix, sc.theirs.Prefix} {
					got, err := sc.Raw().Get(sc.Context(), keys.Block("default", at))
					sc.Check(err)
					values = append(values, string(got.Kvs[0].Value))
				}
				// Half of a block is another's, and changes all the time.
				half := record.Block{Prefix: sc.theirs.Prefix, Parts: lab.Parts("10.42.17.0/27", "n9")}
				values[1] = kv.Encode(half)
				sc.OnCall(func(call string) {
					if strings.HasPrefix(call, "before txn") {
						n++
						sc.Put(keys.Block("default", sc.mine.Prefix), values[0])
						sc.Put(keys.Block("default", sc.theirs.Prefix), values[1])
					}
				})
				if err := sc.each()[what](); err == nil || n < 10 || n > 20 {
					t.Errorf("after %d transactions: %v", n, err)
				}
			})
		})
	}
}

func TestInARecoveryNothingIsGivenAndWhatIsHeldIsAsserted(t *testing.T) {
	inScene(t, func(sc *scene) {
		sc.Void(sc.s)
		sc.x = sc.lasting("n1")
		for _, what := range []string{"claim", "transfer", "take", "claim machine"} {
			if err := sc.each()[what](); !errors.Is(err, session.ErrRecovering) {
				t.Errorf("%s: %v", what, err)
			}
		}
		sc.Delete(sc.s.KV.Keys.Block("default", sc.theirs.Prefix))
		for _, what := range []string{"assert", "resolve", "release"} {
			if err := sc.each()[what](); err != nil {
				t.Errorf("%s: %v", what, err)
			}
			sc.mine.Revision = blockRevision(sc, sc.mine.Prefix)
		}
	})
}

// blockRevision is the mod revision of a block's record.
func blockRevision(sc *scene, at netip.Prefix) int64 {
	sc.Helper()
	got, err := sc.Raw().Get(sc.Context(), sc.s.KV.Keys.Block("default", at))
	sc.Check(err)
	return kv.RevisionOf(got.Kvs)
}

func TestABlockThatHasChangedIsNamed(t *testing.T) {
	err := &block.LostError{Block: record.Block{Pool: "default", Prefix: lab.Prefix("10.42.16.0/26")}}
	if err.Error() != `lease: block 10.42.16.0/26 of pool "default" has changed` {
		t.Error(err)
	}
}
