package netops

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/nftables"
)

func (s space) hold(self string) (h *Hold, err error) {
	s.t.Helper()
	s.do(func() error {
		h, err = HoldNamespace(self)
		return nil
	})
	if err == nil {
		s.t.Cleanup(h.Close)
	}
	return h, err
}

func TestANetworkNamespaceIsHeldByOneProcessWhichTheNextIsTold(t *testing.T) {
	s := newSpace(t)
	const self = "the agent of node n1"
	first, err := s.hold(self)
	must(t, err)
	refused := func(when string) {
		t.Helper()
		_, err := s.hold("another")
		if held, ok := errors.AsType[*HeldError](err); !ok || held.By != self {
			t.Fatalf("%s the second is told %v, want that %s has it", when, err, self)
		}
	}
	refused("at first")
	s.do(func() error {
		c, err := nftables.New()
		must(t, err)
		c.FlushRuleset()
		return c.Flush()
	})
	refused("after the ruleset was flushed")
	if _, err := newSpace(t).hold("another"); err != nil {
		t.Errorf("another namespace: %v", err)
	}
	first.Close()
	if _, err := s.hold("another"); err != nil {
		t.Errorf("after the first has ended: %v", err)
	}
}

func TestATableThatIsNobodysHoldsNothing(t *testing.T) {
	s := newSpace(t)
	s.do(func() error {
		c, err := nftables.New()
		must(t, err)
		c.AddTable(&nftables.Table{Name: holdTable, Family: nftables.TableFamilyBridge})
		return c.Flush()
	})
	if _, err := s.hold("the agent"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.hold("another"); err == nil {
		t.Error("a second one had it, too")
	}
}

func TestWhatAHolderSaysOfItselfIsCutWhereTheKernelHasNoRoom(t *testing.T) {
	s := newSpace(t)
	long := strings.Repeat("x", 300)
	_, err := s.hold(long)
	must(t, err)
	_, err = s.hold("another")
	if held, ok := errors.AsType[*HeldError](err); !ok || held.By != long[:maxUserData] {
		t.Errorf("the second is told %v", err)
	}
}
