package main

import (
	"strings"
	"testing"
	"time"
)

func TestAQuantileIsTheNearestRank(t *testing.T) {
	s := &series{wall: 10 * time.Millisecond}
	for i := 100; i > 0; i-- {
		s.took = append(s.took, time.Duration(i))
	}
	for q, want := range map[float64]time.Duration{0: 1, .5: 50, .99: 99, 1: 100} {
		if got := s.quantile(q); got != want {
			t.Errorf("quantile %v is %d, want %d", q, got, want)
		}
	}
	if got := s.perSecond(); got != 10_000 {
		t.Errorf("%v a second, want 10000", got)
	}
}

func TestTheTableSetsBerthBesideItsPeer(t *testing.T) {
	pairs := contenders("bin", "cni", "sock")
	p := part{16, map[key]*series{}}
	for _, pair := range pairs {
		for _, verb := range []string{"ADD", "DEL"} {
			p.series[keyOf(&pair.berth, verb)] = &series{[]time.Duration{3 * time.Millisecond}, 2 * time.Millisecond}
			p.series[keyOf(&pair.peer, verb)] = &series{[]time.Duration{12 * time.Millisecond}, 10 * time.Millisecond}
		}
	}
	want := "| interface | 16 | DEL | 3.0 / 3.0 | 500 | bridge + host-local | 12.0 / 12.0 | 100 | 0.25 | 5.0 |\n"
	if got := table(pairs, []part{p}); !strings.Contains(got, want) {
		t.Errorf("got\n%s\nwant a line\n%s", got, want)
	}
}
