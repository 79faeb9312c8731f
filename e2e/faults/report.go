package faults

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/berth-ipam/berth/e2e/faults/check"
	"github.com/berth-ipam/berth/e2e/lab"
)

// progress prints a line each ten seconds.
func (w *world) progress(ctx context.Context, out io.Writer) {
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			asked, answers := w.watcher.Counts()
			w.mu.Lock()
			away := map[string]bool{}
			for a := range w.open {
				away[a.Node+" "+a.Reason] = true
			}
			for _, n := range w.nodes {
				if _, long := n.reach.silence(w.now()); long {
					away[n.Name+" "+cutOff] = true
				}
			}
			fmt.Fprintf(out, "%8.1fs  %d containers, %d requests, %d questions on the wire and %d answers; away: %v\n",
				w.now().Seconds(), len(w.live), len(w.history.Operations), asked, answers, slices.Sorted(maps.Keys(away)))
			w.mu.Unlock()
		}
	}
}

// report prints what was done and what was found.
func (w *world) report(out io.Writer, v Verdict) {
	followed := check.Followed(w.soFar(false), w.rules)
	w.mu.Lock()
	defer w.mu.Unlock()
	requests := map[string]int{}
	var longest time.Duration
	for _, o := range w.history.Operations {
		requests[fmt.Sprintf("%-7s %s", o.Verb, o.Outcome)]++
		if o.Outcome == check.OK && o.End-o.Begin > longest {
			longest = o.End - o.Begin
		}
	}
	fmt.Fprintf(out, "\nrequests (the slowest that succeeded took %.1f s):\n", longest.Seconds())
	table(out, requests)
	fmt.Fprintln(out, "the most frequent reasons of those that did not succeed:")
	table(out, reasons(w.history.Operations))
	fmt.Fprintln(out, "deeds, and faults that did not come about:")
	table(out, w.counted)
	if len(w.kinds) > 0 {
		fmt.Fprintln(out, "faults, and how often the effect of each was seen:")
	}
	for _, k := range w.kinds {
		fmt.Fprintf(out, "  %6d %6d  %s\n", w.struck[k].done, w.struck[k].seen, k)
	}
	fmt.Fprintf(out, "the network was seen %d times\n", len(w.history.Sightings))
	fmt.Fprintln(out, w.excuse())
	for _, line := range stranded(&w.history, w.rules.Session) {
		fmt.Fprintln(out, line)
	}
	missed, asked := check.Unanswered(&w.history, w.rules)
	fmt.Fprintf(out, "of %d requests to containers that have their right, %d were not answered\n", asked, missed)
	if w.mode.Routes {
		fmt.Fprintf(out, "after ADDs of members %d routes of other nodes were to lead there: %d for less than the stated time, %d excused, "+
			"%d judged: the slowest took %.3f s\n",
			followed.All, followed.Short, followed.Excused, followed.All-followed.Short-followed.Excused, followed.Slowest.Seconds())
	}
	mean, most := check.Slowness(&w.history)
	fmt.Fprintf(out, "programs took %.1f times as long as alone on the machine, %.1f times at most\n", mean, most)
	for _, e := range w.exits {
		fmt.Fprintf(out, "%8.3fs %s ended by itself: %s\n", e.at.Seconds(), e.node, e.log[strings.LastIndex(strings.TrimSpace(e.log), "\n")+1:])
	}
	if v.Undecided > 0 {
		fmt.Fprintf(out, "%d identities had a history too tangled to be decided in time\n", v.Undecided)
	}
	for _, violation := range v.Violations {
		fmt.Fprintf(out, "\n%v\n", violation)
	}
	if len(v.Violations) == 0 {
		fmt.Fprintln(out, "\nno violation")
	} else {
		fmt.Fprintf(out, "\n%d violations\n", len(v.Violations))
	}
}

// excuse says for how much of the run two holders of an address would have been excused.
func (w *world) excuse() string {
	if w.rules.Strict {
		return "two holders of an address were excused on no node at any time"
	}
	e := check.Excused(&w.history, w.rules)
	return fmt.Sprintf("of %.0f node-seconds, two holders were excused in %.1f (of a member's address) and %.1f (of a replica's): "+
		"cut off from etcd, or without agent, beyond the right",
		w.history.End.Seconds()*float64(len(w.nodes)), e.Stateful.Seconds(), e.Stateless.Seconds())
}

// names are those of containers, addresses, numbers and times in an error's text.
var names = regexp.MustCompile(`\S*\d\S*`)

// reasons count why requests failed, the most frequent of them.
func reasons(operations []check.Operation) map[string]int {
	counts := map[string]int{}
	for _, o := range operations {
		if words := names.ReplaceAllString(o.Words, "…"); words != "" {
			counts[fmt.Sprintf("%s: %.150s", o.Verb, words)]++
		}
	}
	frequent := slices.SortedFunc(maps.Values(counts), func(a, b int) int { return b - a })
	if len(frequent) > most {
		maps.DeleteFunc(counts, func(_ string, n int) bool { return n < frequent[most] })
	}
	return counts
}

// most is how many reasons are worth a line.
const most = 12

func table(out io.Writer, counts map[string]int) {
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(out, "  %6d  %s\n", counts[name], name)
	}
}

// keepLogs copies the ends of the logs to where they outlive the sandbox.
func keepLogs(l *lab.Lab) string {
	file, err := os.CreateTemp("", "berth-faults-*.log")
	if err != nil {
		return err.Error()
	}
	defer file.Close()
	if _, err := io.WriteString(file, l.Logs(5000)); err != nil {
		return err.Error()
	}
	return file.Name()
}
