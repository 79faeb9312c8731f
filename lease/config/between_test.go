package config_test

import (
	"errors"
	"testing"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/rollout"
)

func TestNothingComesBetweenTheLookForAGatewaysHoldersAndItsMove(t *testing.T) {
	for name, c := range map[string]struct {
		gateway string
		hold    func(l *lab.Lab, s *lab.Store, x *lab.Joined, b record.Block, config *config.Config) error
	}{
		"an assignment": {"10.42.16.9", func(l *lab.Lab, _ *lab.Store, x *lab.Joined, b record.Block, _ *config.Config) error {
			batch := rollout.Batch{Blocks: []record.Block{b}, Set: []record.Assignment{lab.Assigned("10.42.16.9")}}
			return rollout.Publish(l.Context(), x.Session, batch)
		}},
		"a reservation": {"10.42.0.9", func(l *lab.Lab, s *lab.Store, _ *lab.Joined, _ record.Block, config *config.Config) error {
			return l.Reserves(s, config, lab.Identity("db", 1), "10.42.0.9")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			l := lab.New(t)
			s := l.Store()
			base := l.Apply(s, lab.Smallest())
			x := l.Join(s, "n1")
			b := l.Claims(x, base, "10.42.16.0/26")
			l.Check(l.Reserves(s, base, lab.Identity("db", 0), "10.42.0.5"))
			next := movedTo(base, c.gateway)
			free, err := s.Editor.Guard(t.Context(), base, next, []string{"default"})
			l.Check(err)
			l.Check(c.hold(l, s, x, b, base))
			_, moved, err := s.Editor.CommitOnce(t.Context(), config.ChangeOf(base, next, config.Note{}, free, "default"), time.Now())
			if err != nil || !moved {
				t.Errorf("the gateway has moved onto who has got the address meanwhile: %v", err)
			}
		})
	}
}

// A node that is away may have given the address after it had applied a newer revision, too: what counts is the exclusion.
func TestAnAbsentNodesNewestStatusMakesNoGatewayFree(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	base := l.Apply(s, lab.Smallest())
	session := l.Join(l.Store(), "n3")
	l.Claims(session, base, "10.42.16.0/26")
	reportStatus(l, session, base.Revision)
	l.Delete(s.KV.Keys.Session("n3"))
	refusedFor(l, s, movedTo(base, "10.42.16.9"), "node n3", "away")
}

func TestAFormerGatewayThatANodeStillHasIsNotEvenWrittenAbout(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	base := l.Apply(s, lab.Smallest())
	x := l.Join(s, "n1")
	reportStatus(l, x, base.Revision)
	after, err := s.Editor.Apply(t.Context(), base, movedTo(base, "10.42.0.9"), config.Note{})
	l.Check(err)
	if freed, err := s.Former.Free(t.Context(), config.Note{}); err != nil || freed != 0 {
		t.Errorf("%d are free: %v", freed, err)
	}
	if now := currentConfig(l, s); now.Revision != after.Revision {
		t.Errorf("revision %d became %d", after.Revision, now.Revision)
	}
}

func TestAfterARestoreAGatewayMovesOnlyOnceTheOwnerOfItsPartHasSaidAnewThatItExcludesIt(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	base := l.Apply(s, lab.Smallest())
	x := l.Join(s, "n1")
	l.Claims(x, base, "10.42.16.0/26")
	excluded := movedTo(base, "10.42.0.1")
	pool := excluded.Pools["default"]
	pool.Exclude = append(pool.Exclude, allocator.Range{From: lab.Addr("10.42.16.9"), To: lab.Addr("10.42.16.9")})
	excluded.Pools["default"] = pool
	excluded, err := s.Editor.Apply(t.Context(), base, excluded, config.Note{})
	l.Check(err)
	moved := movedTo(excluded, "10.42.16.9")
	pool = moved.Pools["default"]
	pool.Exclude = nil
	moved.Pools["default"] = pool
	reportStatus(l, x, excluded.Revision)
	l.Put(s.KV.Keys.Cluster(), kv.Encode(record.Cluster{})) // as the first handshake after a restore leaves it
	_, err = s.Editor.Guard(t.Context(), excluded, moved, []string{"default"})
	if _, unsaid := errors.AsType[*config.UnappliedError](err); !unsaid {
		t.Errorf("by what the owner said before it moves: %v", err)
	}
	reportStatus(l, l.Join(s, "n1"), excluded.Revision)
	l.Check(lab.Second(s.Editor.Guard(t.Context(), excluded, moved, []string{"default"})))
}
