package e2e

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// stands reports whether a damage is as it was made: no agent has repaired it by itself.
func (w *wrecker) stands(h hit) bool {
	w.Helper()
	got, err := w.etcd.Get(w.Context(), h.key)
	w.check(err)
	if len(got.Kvs) == 0 {
		return h.after == "" && h.before != ""
	}
	return string(got.Kvs[0].Value) == h.after
}

// unnamed are the kinds of which a record that is gone is nobody's loss, or comes back with whoever needs it.
var unnamed = []string{"config/history", "demands", "sessions", "status", "nodes", "cluster"}

// named reports why a damage that stands is not told of, by some node's /readyz and by the doctor; nil: it is told.
func (w *wrecker) named(h hit, d diagnosis) error {
	w.Helper()
	if !w.stands(h) || h.kind == "sessions" || h.after == "" && (slices.Contains(unnamed, h.kind) || w.isUnused(h)) {
		return nil
	}
	if !slices.ContainsFunc(d.Findings, func(f finding) bool { return f.Key == h.key || strings.Contains(f.Cause, h.key) }) &&
		!w.isHarmless(h, d) {
		return fmt.Errorf("the doctor does not name %s: %s", h, d)
	}
	if h.after == "" || !slices.ContainsFunc(d.Findings, func(f finding) bool { return f.Key == h.key && f.Kind == "record-unreadable" }) {
		return nil // what is missing, or can be read, is for the doctor alone
	}
	for _, n := range w.lab.Nodes {
		if _, body, err := n.HTTP(w.Context(), "/readyz"); err == nil && strings.Contains(body, h.key) {
			return nil
		}
	}
	return fmt.Errorf("no node's /readyz names %s", h)
}

// isUnused reports whether what was deleted is a block of which nobody has an address by etcd: it is anybody's again.
func (w *wrecker) isUnused(h hit) bool {
	w.Helper()
	pool, first, _ := strings.Cut(strings.TrimPrefix(h.key, berthKeys+"blocks/"), "/")
	if addr, err := netip.ParseAddr(first); h.kind == "blocks" && err == nil {
		block, all := netip.PrefixFrom(addr, 26), w.keys()
		for _, kind := range []string{"reservations", "assignments"} {
			for key := range all[kind] {
				at, err := netip.ParseAddr(strings.TrimPrefix(key, berthKeys+kind+"/"+pool+"/"))
				if err == nil && block.Contains(at) {
					return false
				}
			}
		}
		return true
	}
	return false
}

// isHarmless reports whether what was written can be read as a record that says nothing wrong, such as an empty status of
// no node, or that another finding tells of it.
func (w *wrecker) isHarmless(h hit, d diagnosis) bool {
	last := h.key[strings.LastIndex(h.key, "/")+1:]
	return json.Valid([]byte(h.after)) && (h.after != "null" && h.after != "[1,2,3]" && len(h.after) < 1<<20) ||
		slices.ContainsFunc(d.Findings, func(f finding) bool { return strings.Contains(f.Cause+f.Node+f.Key, last) })
}

var commands = regexp.MustCompile(`etcdctl (put|del) '([^']*)'(?: '([^']*)')?|berthctl (release|delete|node remove) [^,;()]*`)

// obey carries out what is advised, where a machine can.
func (w *wrecker) obey(d diagnosis) {
	w.Helper()
	for _, f := range d.Findings {
		for _, m := range commands.FindAllStringSubmatch(f.Repair, -1) {
			switch {
			case f.Note, strings.Contains(f.Repair, "gone for good"): // it is not
			case m[1] == "put":
				_, err := w.etcd.Put(w.Context(), m[2], m[3])
				w.check(err)
			case m[1] == "del":
				_, err := w.etcd.Delete(w.Context(), m[2])
				w.check(err)
			default:
				w.Logf("advised for %s: %s", f.Kind, m[0])
				node := w.lab.Nodes[0]
				for _, n := range w.lab.Nodes {
					if n.Name == f.Node {
						node = n
					}
				}
				_, _ = node.Berthctl(w.Context(), strings.Fields(strings.TrimPrefix(m[0], "berthctl "))...)
			}
		}
	}
}
