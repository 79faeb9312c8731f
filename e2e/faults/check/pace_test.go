package check

import (
	"testing"
	"time"
)

// turns are the watcher's, each as slow as slow says.
func (p *plot) turns(slow func(at time.Duration) float64) {
	const work = 10 * ms
	for at := time.Duration(0); at < p.End; {
		took := time.Duration(slow(at) * float64(work))
		p.Turns = append(p.Turns, Turn{Begin: at, End: at + took, Work: work})
		at += max(250*ms, took)
	}
}

// slowIn is so slow from some time to another, and hardly elsewhere.
func slowIn(from, to time.Duration, slow float64) func(time.Duration) float64 {
	return func(at time.Duration) float64 {
		if at >= from && at < to {
			return slow
		}
		return 1.1
	}
}

const s = time.Second

func TestWhoIsBackHasMoreTimeWhileTheMachineIsSlowAndAtNoOtherTime(t *testing.T) {
	for name, c := range map[string]struct {
		slow func(time.Duration) float64
		want []Rule
	}{
		"slow since it is back": {slowIn(20*s, 30*s, 6), nil},
		"never slow":            {slowIn(0, 0, 0), []Rule{Silent}},
		"slow before":           {slowIn(5*s, 19*s, 100), []Rule{Silent}},
		"slow afterwards":       {slowIn(24*s, 40*s, 100), []Rule{Silent}},
		"slow once":             {slowIn(20*s, 20*s+50*ms, 6), []Rule{Silent}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlot()
			p.turns(c.slow)
			p.away("n1", "clock", 19*s, 20*s)
			p.answers("n1-a", "", during(20*s, 23500*ms))
			p.wants(t, strict, c.want...)
			p.wants(t, evidence, c.want...)
		})
	}
}

func TestAMachineThatIsSlowAllTheTimeExcusesNoSilenceWithoutACause(t *testing.T) {
	for name, silent := range map[string]func(time.Duration) bool{
		"for a while":     during(20*s, 21*s),
		"at each renewal": func(at time.Duration) bool { return at%(3*time.Second) == 0 },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlot()
			p.turns(slowIn(0, p.End, 100))
			p.away("n1", "kill", 1100*ms, 2*s) // shorter than a right: nothing that its containers notice
			p.answers("n1-m", "db-0", silent)
			p.wants(t, strict, Silent)
			p.wants(t, evidence, Silent)
		})
	}
}

func TestAMachineThatIsSlowAllTheTimeExcusesNoSecondHolderInStrictMode(t *testing.T) {
	p := moved("partition", 5*s, 20*s, 12*s, 20*s)
	p.turns(slowIn(0, p.End, 100))
	p.wants(t, strict, Unique)
	p = moved("partition", 5*s, 20*s, 6*s, 7*s) // within the right
	p.turns(slowIn(0, p.End, 100))
	p.wants(t, evidence, Unique, Register)
}

func TestWhoIsBackWhileAMemberOfEtcdHangsHasTheTimeThatItsCallsTakeThenAndNoMore(t *testing.T) {
	for name, c := range map[string]struct {
		fault  Fault
		silent time.Duration // since it is back
		want   []Rule
	}{
		"a member hangs":               {Fault{What: "etcd-pause", Begin: 19 * s, End: 30 * s}, 3500 * ms, nil},
		"for longer than calls take":   {Fault{What: "etcd-pause", Begin: 19 * s, End: 30 * s}, 5 * s, []Rule{Silent}},
		"it has hung before":           {Fault{What: "etcd-pause", Begin: 10 * s, End: 19 * s}, 3500 * ms, []Rule{Silent}},
		"its own way to one":           {Fault{What: "partition", Node: "n1", Begin: 19 * s, End: 30 * s}, 3500 * ms, nil},
		"another node's":               {Fault{What: "partition", Node: "n2", Begin: 19 * s, End: 30 * s}, 3500 * ms, []Rule{Silent}},
		"a fault that is none of etcd": {Fault{What: "disk", Node: "n1", Begin: 19 * s, End: 30 * s}, 3500 * ms, []Rule{Silent}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlot()
			p.Faults = append(p.Faults, c.fault)
			p.away("n1", "clock", 19*s, 20*s)
			p.answers("n1-a", "", during(20*s, 20*s+c.silent))
			p.wants(t, strict, c.want...)
		})
	}
}

func TestWhoIsBackHasThatTimeForEachFaultOfEtcdThatBeginsInIt(t *testing.T) {
	for name, c := range map[string]struct {
		second time.Duration
		want   []Rule
	}{
		"a second member hangs": {22 * s, nil},
		"it hangs later":        {25 * s, []Rule{Silent}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlot()
			p.Faults = append(p.Faults, Fault{What: "split", Begin: 19 * s, End: 21 * s}, Fault{What: "split", Begin: c.second, End: 30 * s})
			p.away("n1", "clock", 19*s, 20*s)
			p.answers("n1-a", "", during(20*s, 25500*ms))
			p.wants(t, strict, c.want...)
		})
	}
}

func TestAFaultOfEtcdAloneExcusesNoSilence(t *testing.T) {
	p := newPlot()
	p.turns(slowIn(0, p.End, 100))
	p.Faults = append(p.Faults, Fault{What: "etcd-pause", Begin: 19 * s, End: 30 * s})
	p.answers("n1-m", "db-0", during(20*s, 21*s))
	p.wants(t, strict, Silent)
	p.wants(t, evidence, Silent)
}
