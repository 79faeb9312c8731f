package check

import (
	"testing"
	"time"
)

// moved is a member that is taken from a node which is away, and goes on being heard there until some time.
func moved(reason string, from, to, taken, heard time.Duration) *plot {
	p := newPlot()
	p.ask(900*ms, Add, "n1-m", "db-0", OK, address)
	p.hear("n1-m", address, time.Second, heard)
	if reason == "revoke" {
		p.Revocations = append(p.Revocations, Revocation{"n1", from})
	} else {
		p.away("n1", reason, from, to)
	}
	p.lives("n2-m", "db-0", address, taken, 60*time.Second)
	p.ask(40*time.Second, Del, "n1-m", "db-0", OK)
	return p
}

func TestEvidenceModeAllowsTwoOnlyWhereTheFirstsNodeIsAway(t *testing.T) {
	s := time.Second
	for name, c := range map[string]struct {
		plot *plot
		want []Rule
	}{
		"while it is cut off":                  {moved("partition", 5*s, 20*s, 10*s, 20*s), nil},
		"within the grace after it is back":    {moved("kill", 5*s, 20*s, 10*s, 21*s), nil},
		"later than the grace":                 {moved("pause", 5*s, 20*s, 10*s, 25*s), []Rule{Unique}},
		"before its right has run out":         {moved("partition", 5*s, 20*s, 6*s, 20*s), []Rule{Unique, Register}},
		"before it is cut off":                 {moved("partition", 9*s, 20*s, 7*s, 20*s), []Rule{Unique, Register}},
		"at once after its session is revoked": {moved("revoke", 5*s, 5*s, 5*s+200*ms, 6*s), nil},
		"long after its session is revoked":    {moved("revoke", 5*s, 5*s, 5*s+200*ms, 12*s), []Rule{Unique}},
	} {
		t.Run(name, func(t *testing.T) {
			c.plot.wants(t, evidence, c.want...)
		})
	}
}

func TestEvidenceModeAllowsAnAddThatWasUnderWayWhenItsNodeWentAway(t *testing.T) {
	for _, heard := range []time.Duration{21 * time.Second, 25 * time.Second} {
		p := newPlot()
		p.ask(5*time.Second, Add, "n1-a", "", Lost)
		p.away("n1", "pause", 5*time.Second, 20*time.Second)
		p.lives("n2-b", "", address, 15*time.Second, 60*time.Second)
		p.hear("n1-a", address, 20*time.Second, heard)
		p.ask(40*time.Second, Del, "n1-a", "", OK)
		if heard < 22*time.Second {
			p.wants(t, evidence)
		} else {
			p.wants(t, evidence, Unique)
		}
		p.wants(t, strict, Unique)
	}
}

func TestStrictModeAllowsTwoNever(t *testing.T) {
	moved("partition", 5*time.Second, 20*time.Second, 12*time.Second, 13*time.Second).wants(t, strict, Unique)
	moved("partition", 5*time.Second, 20*time.Second, 12*time.Second, 11*time.Second).wants(t, strict)
}

func TestAFaultThatTakesNoNodeAwayExcusesNothing(t *testing.T) {
	for _, member := range []string{"", "db-0"} {
		p := newPlot()
		p.ask(900*ms, Add, "n1-a", member, OK, address)
		p.hear("n1-a", address, time.Second, 20*time.Second)
		p.Faults = append(p.Faults, Fault{What: "etcd-kill", Begin: 2 * time.Second, End: 20 * time.Second})
		p.lives("n2-b", "", address, 15*time.Second, 60*time.Second)
		p.ask(20*time.Second, Del, "n1-a", member, OK)
		p.wants(t, evidence, Unique)
	}
}

func TestARevokedSessionExcusesNoStatelessAddress(t *testing.T) {
	p := newPlot()
	p.lives("n1-a", "", address, time.Second, 6*time.Second)
	p.Revocations = append(p.Revocations, Revocation{"n1", 5 * time.Second})
	p.lives("n2-b", "", address, 5500*ms, 60*time.Second)
	p.wants(t, evidence, Unique)
}

func TestARevokedSessionOfANodeThatIsAwayExcusesUntilItIsBack(t *testing.T) {
	for heard, want := range map[time.Duration][]Rule{21 * time.Second: nil, 25 * time.Second: {Unique}} {
		p := moved("partition", 5*time.Second, 20*time.Second, 6*time.Second, heard)
		p.Revocations = append(p.Revocations, Revocation{"n1", 5500 * ms})
		p.wants(t, evidence, want...)
	}
}

func TestTwoShortAbsencesDoNotAddUp(t *testing.T) {
	for second, want := range map[time.Duration][]Rule{8 * time.Second: nil, 9500 * ms: {Unique, Register}} {
		p := newPlot()
		p.ask(900*ms, Add, "n1-m", "db-0", OK, address)
		p.hear("n1-m", address, time.Second, 12*time.Second)
		p.away("n1", "cut off", 5*time.Second, 7*time.Second)
		p.away("n1", "cut off", second, 12*time.Second) // close to the first one it is one with it
		p.lives("n2-m", "db-0", address, 11*time.Second, 60*time.Second)
		p.ask(12*time.Second, Del, "n1-m", "db-0", OK)
		p.wants(t, evidence, want...)
	}
}

func TestAMemberThatIsTakenFromANodeWithinItsRightIsFoundThoughTheNetworkShowsNothing(t *testing.T) {
	for name, c := range map[string]struct {
		rules Rules
		taken time.Duration
		want  []Rule
	}{
		"evidence, before the right has run out":  {evidence, 6 * time.Second, []Rule{Register}},
		"evidence, after it":                      {evidence, 8 * time.Second, nil},
		"strict, without the wait":                {strict, 9 * time.Second, []Rule{Register}},
		"strict, after it":                        {strict, 12 * time.Second, nil},
		"evidence, long after the node is back":   {evidence, 25 * time.Second, []Rule{Register}},
		"evidence, in the grace after its return": {evidence, 21 * time.Second, nil},
	} {
		t.Run(name, func(t *testing.T) {
			p := moved("partition", 5*time.Second, 20*time.Second, c.taken, 2*time.Second)
			p.wants(t, c.rules, c.want...)
		})
	}
}

func TestWhatIsExcusedIsAddedUpByNodeAndClass(t *testing.T) {
	p := newPlot()
	p.away("n1", "cut off", 10*time.Second, 20*time.Second)
	p.away("n2", "kill", 10*time.Second, 11*time.Second) // shorter than any right
	p.Revocations = append(p.Revocations, Revocation{"n3", 30 * time.Second}, Revocation{"n1", 15 * time.Second})
	want := Excuse{Stateful: 22*time.Second - 12100*ms + 2*time.Second, Stateless: 22*time.Second - 15100*ms}
	if got := Excused(&p.History, evidence); got != want {
		t.Errorf("%+v is excused: want %+v", got, want)
	}
	if got := Excused(&p.History, strict); got != (Excuse{}) {
		t.Errorf("%+v is excused in strict mode", got)
	}
}

func TestAMemberMayBeTakenFromANodeWithoutASessionButIsNotToBeLiveTwice(t *testing.T) {
	for name, c := range map[string]struct {
		rules        Rules
		taken, heard time.Duration
		want         []Rule
	}{
		"evidence, silent":     {evidence, 6 * time.Second, 5 * time.Second, nil},
		"evidence, live twice": {evidence, 6 * time.Second, 9 * time.Second, []Rule{Unique}},
		"strict, too early":    {strict, 7 * time.Second, 5 * time.Second, []Rule{Register}},
		"strict, after a wait": {strict, 9 * time.Second, 5 * time.Second, nil},
	} {
		t.Run(name, func(t *testing.T) {
			p := moved("none", 0, 0, c.taken, c.heard)
			p.Absences = nil
			p.Sessionless = append(p.Sessionless, Absence{Node: "n1", Begin: 5 * time.Second, End: 20 * time.Second})
			p.wants(t, c.rules, c.want...)
		})
	}
}
