package main

import (
	"fmt"
	"runtime"
	"strings"
	"time"
)

// table is the result as a table of Markdown. A ratio is Berth's time, or rate, as a part of the peer's.
func table(pairs []pair, parts []part) string {
	var b strings.Builder
	fmt.Fprintf(&b, "On %d CPUs (%s), beside the CNI plugins; p50 and p99 in ms.\n\n", runtime.NumCPU(), runtime.GOARCH)
	b.WriteString("| role | callers | verb | berth p50 / p99 | per s | peer | p50 / p99 | per s | time, berth : peer | rate, berth : peer |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|---|---|\n")
	for i := range pairs {
		for _, part := range parts {
			for _, verb := range []string{"ADD", "DEL"} {
				own, peer := part.series[keyOf(&pairs[i].berth, verb)], part.series[keyOf(&pairs[i].peer, verb)]
				fmt.Fprintf(&b, "| %s | %d | %s | %s | %.0f | %s | %s | %.0f | %.2f | %.1f |\n",
					pairs[i].what, part.callers, verb, times(own), own.perSecond(), pairs[i].peer.name, times(peer), peer.perSecond(),
					own.quantile(.5).Seconds()/peer.quantile(.5).Seconds(), own.perSecond()/peer.perSecond())
			}
		}
	}
	return b.String()
}

func times(s *series) string {
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	return fmt.Sprintf("%.1f / %.1f", ms(s.quantile(.5)), ms(s.quantile(.99)))
}
