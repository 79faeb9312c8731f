package hold

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/nftables"
)

func hold(s space, self string) (h *Hold, err error) {
	s.T.Helper()
	s.Do(func() error {
		h, err = Namespace(self)
		return nil
	})
	if err == nil {
		s.T.Cleanup(h.Close)
	}
	return h, err
}

func TestANetworkNamespaceIsHeldByOneProcessWhichTheNextIsTold(t *testing.T) {
	s := newSpace(t)
	const self = "the agent of node n1"
	first, err := hold(s, self)
	must(t, err)
	refused := func(when string) {
		t.Helper()
		_, err := hold(s, "another")
		if held, ok := errors.AsType[*HeldError](err); !ok || held.By != self {
			t.Fatalf("%s the second is told %v, want that %s has it", when, err, self)
		}
	}
	refused("at first")
	s.Do(func() error {
		c, err := nftables.New()
		must(t, err)
		c.FlushRuleset()
		return c.Flush()
	})
	refused("after the ruleset was flushed")
	if _, err := hold(newSpace(t), "another"); err != nil {
		t.Errorf("another namespace: %v", err)
	}
	first.Close()
	if _, err := hold(s, "another"); err != nil {
		t.Errorf("after the first has ended: %v", err)
	}
}

func TestATableThatIsNobodysHoldsNothing(t *testing.T) {
	s := newSpace(t)
	s.Do(func() error {
		c, err := nftables.New()
		must(t, err)
		c.AddTable(&nftables.Table{Name: tableName, Family: nftables.TableFamilyBridge})
		return c.Flush()
	})
	if _, err := hold(s, "the agent"); err != nil {
		t.Fatal(err)
	}
	if _, err := hold(s, "another"); err == nil {
		t.Error("a second one had it, too")
	}
}

func TestWhatAHolderSaysOfItselfIsCutWhereTheKernelHasNoRoom(t *testing.T) {
	s := newSpace(t)
	long := strings.Repeat("x", 300)
	_, err := hold(s, long)
	must(t, err)
	_, err = hold(s, "another")
	if held, ok := errors.AsType[*HeldError](err); !ok || held.By != long[:maxUserData] {
		t.Errorf("the second is told %v", err)
	}
}
