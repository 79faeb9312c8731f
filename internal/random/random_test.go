package random

import (
	crypto "crypto/rand"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

// some is a few values of each kind.
func some(s *Source) string {
	mac := make([]byte, 6)
	s.Fill(mac)
	return fmt.Sprint(s.Below(time.Hour), s.Uint64(), s.Perm(20), mac, s.ID())
}

func TestASeedGivesTheSameEachTime(t *testing.T) {
	if one, again := some(Seeded(7)), some(Seeded(7)); one != again {
		t.Errorf("seed 7 gave %s, and then %s", one, again)
	}
	if one, other := some(Seeded(7)), some(Seeded(8)); one == other {
		t.Errorf("seeds 7 and 8 both gave %s", one)
	}
}

func TestWithoutASeedNoTwoSourcesAreAlike(t *testing.T) {
	var none *Source
	if one, other := some(New()), some(none.OrNew()); one == other {
		t.Errorf("both gave %s", one)
	}
	if s := New(); s.OrNew() != s {
		t.Error("a source that is given is replaced by another")
	}
}

// A virtual machine is cloned with its memory: what a source kept there, both would go on with.
func TestASourceWithoutASeedAsksTheKernelEachTime(t *testing.T) {
	if s := New(); s.bytes != crypto.Reader || *s.rand != *rand.New(kernel{}) {
		t.Errorf("it is %+v: want the kernel's bytes, and nothing kept", s)
	}
}

func TestWhatIsGivenLiesWhereItIsSaidTo(t *testing.T) {
	s := Seeded(1)
	seen := map[time.Duration]bool{}
	for range 1000 {
		d := s.Below(3)
		if seen[d] = true; d < 0 || d >= 3 {
			t.Fatalf("a duration below 3 is %d", d)
		}
	}
	if len(seen) != 3 {
		t.Errorf("of 3 durations %d ever came", len(seen))
	}
	order := s.Perm(8)
	if slices.Sort(order); !slices.Equal(order, []int{0, 1, 2, 3, 4, 5, 6, 7}) {
		t.Errorf("8 numbers in any order are %v", order)
	}
	if id := s.ID(); len(id) != 16 {
		t.Errorf("an ID is %q: want 16 digits", id)
	}
}

func TestManyCanAskAtOnceAndNoTwoGetTheSame(t *testing.T) {
	s := Seeded(3)
	var ids sync.Map
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 500 {
				if _, twice := ids.LoadOrStore(s.ID(), true); twice {
					t.Error("an ID came twice")
				}
			}
		})
	}
	all.Wait()
}
