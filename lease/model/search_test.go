package model

import (
	"slices"
	"testing"
)

// jugs are two jugs, of 3 and of 5 litres, a tap and a drain. Its states and its shortest ways are known.
type jugs struct{ wrong [2]int }

func (jugs) Begin() [2]int { return [2]int{} }

func (jugs) Steps(s [2]int, do func(Step, [2]int)) {
	size := [2]int{3, 5}
	for i := range s {
		full, empty, poured := s, s, s
		full[i], empty[i] = size[i], 0
		much := min(s[i], size[1-i]-s[1-i])
		poured[i], poured[1-i] = s[i]-much, s[1-i]+much
		do(Step{"fill", int8(i)}, full)
		do(Step{"empty", int8(i)}, empty)
		do(Step{"pour", int8(i)}, poured)
	}
}

func (j jugs) Wrong(s [2]int) string {
	if s == j.wrong {
		return "there it is"
	}
	return ""
}

func TestASearchSeesEveryStateOnce(t *testing.T) {
	r := Search(jugs{wrong: [2]int{-1, -1}}, 100)
	// Whatever can be reached has a jug that is empty or full.
	if r.States != 16 || !r.Complete || r.Wrong != "" {
		t.Errorf("%+v: want 16 states, all there are", r)
	}
	if r := Search(jugs{wrong: [2]int{-1, -1}}, 5); r.Complete || r.States < 5 || r.States > 10 {
		t.Errorf("%+v: want about 5 states, not all", r)
	}
}

func TestASearchFindsTheShortestWay(t *testing.T) {
	r := Search(jugs{wrong: [2]int{3, 4}}, 100)
	if r.Wrong != "there it is" || len(r.Steps) != 6 {
		t.Fatalf("%s: want it to be found by 6 steps", r)
	}
	want := []Step{{"fill", 1}, {"pour", 1}, {"empty", 0}, {"pour", 1}, {"fill", 1}, {"pour", 1}}
	if !slices.Equal(r.Steps, want) {
		t.Errorf("the way is %v, want %v", r.Steps, want)
	}
}

func TestASearchOutgrowsItsTable(t *testing.T) {
	const n = 100_000
	r := Search(line(n), 2*n)
	if r.States != n || r.Depth != n-1 || !r.Complete {
		t.Errorf("%+v: want %d states in a line", r, n)
	}
}

// line is a line of states.
type line int

func (line) Begin() int       { return 0 }
func (line) Wrong(int) string { return "" }

func (l line) Steps(s int, do func(Step, int)) { do(Step{"on", -1}, min(s+1, int(l)-1)) }
