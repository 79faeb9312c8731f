package faults

import (
	"strings"
	"testing"
	"time"

	"github.com/berth-ipam/berth/e2e/faults/check"
)

func TestAnAgentsEndThatNobodyOrderedIsAViolation(t *testing.T) {
	full := []check.Fault{{What: string(Disk), Node: "n1", Begin: 10 * time.Second, End: 20 * time.Second}}
	refusal := "2026-01-01 info ready\nerror: the run directory is full\n"
	for name, c := range map[string]struct {
		exit exit
		want int
	}{
		"in the middle of its work":           {exit{node: "n1", at: 5 * time.Second, log: "info ready\n"}, 1},
		"in its work while the disk is full":  {exit{node: "n1", at: 15 * time.Second, log: refusal}, 1},
		"at its start while the disk is full": {exit{node: "n1", at: 15 * time.Second, starting: true, log: refusal}, 0},
		"by a panic at its start, on a full disk": {exit{node: "n1", at: 15 * time.Second, starting: true,
			log: "panic: nil map\n\ngoroutine 1\n"}, 1},
		"at its start while another's disk is full": {exit{node: "n2", at: 15 * time.Second, starting: true, log: refusal}, 1},
		"at its start long after the disk was full": {exit{node: "n1", at: 40 * time.Second, starting: true, log: refusal}, 1},
	} {
		if got := ends([]exit{c.exit}, full); len(got) != c.want {
			t.Errorf("an end %s: %v, want %d violations", name, got, c.want)
		}
	}
}

func TestTheViolationNamesThePanic(t *testing.T) {
	e := exit{node: "n1", log: "info ready\npanic: assignment to entry in nil map\n\ngoroutine 7 [running]:\nmain.main()\n"}
	v := ends([]exit{e}, nil)
	if len(v) != 1 || !strings.Contains(v[0].What, "assignment to entry in nil map") || len(v[0].Evidence) < 4 {
		t.Errorf("it is told as %v", v)
	}
}
