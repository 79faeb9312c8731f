package faults

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/berth-ipam/berth/e2e/faults/check"
)

// sessions reads from etcd which nodes have a session, until ctx ends, and enters the times in which one has none.
func (w *world) sessions(ctx context.Context) {
	seen := map[string]time.Duration{}
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		sent := w.now()
		once, cancel := context.WithTimeout(ctx, askWithin)
		keys, err := w.lab.Etcd.Get(once, "/berth/v1/sessions/")
		cancel()
		for _, h := range w.nodes {
			if _, has := keys["/berth/v1/sessions/"+h.Name]; err == nil {
				w.session(h, has, seen, sent)
			}
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// session enters that etcd has a session of a node, or has none; seen is when it last had one.
func (w *world) session(h *host, has bool, seen map[string]time.Duration, sent time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	since, before := seen[h.Name]
	if has {
		if now := w.now(); w.sessionless[h.Name] > 0 {
			w.history.Sessionless = append(w.history.Sessionless, check.Absence{Node: h.Name, Begin: since, End: now})
		}
		delete(w.sessionless, h.Name)
		seen[h.Name] = sent
	} else if before {
		w.sessionless[h.Name] = since
	}
}

// stranded tells of the nodes that had no session for longer than one lasts, while etcd answered them and their agent ran.
func stranded(h *check.History, session time.Duration) (lines []string) {
	for _, s := range h.Sessionless {
		free := s.End - s.Begin
		var reasons []string
		for _, a := range h.Absences {
			if a.Node == s.Node {
				if both := min(a.End, s.End) - max(a.Begin, s.Begin); both > 0 {
					free -= both
					reasons = append(reasons, a.Reason)
				}
			}
		}
		if free > session {
			lines = append(lines, fmt.Sprintf("%s had no session from %.1f s to %.1f s, though for %.1f s of it etcd answered it and its "+
				"agent ran %s",
				s.Node, s.Begin.Seconds(), s.End.Seconds(), free.Seconds(), strings.Join(reasons, ", ")))
		}
	}
	return lines
}
