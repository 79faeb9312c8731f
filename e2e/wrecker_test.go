package e2e

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/e2e/lab"
)

// A hit is one damage: a key of etcd's, and what somebody has made of it.
type hit struct {
	key    string
	kind   string // of the key
	before string // empty: it was not there
	after  string // empty: it was deleted
	how    string
}

func (h hit) String() string { return fmt.Sprintf("%s of %s: %q", h.how, h.key, short(h.after)) }

func short(text string) string { return text[:min(len(text), 80)] }

const berthKeys = "/berth/v1/"

// A wrecker damages the records of a lab, and knows what has become of each.
type wrecker struct {
	*testing.T
	lab    *lab.Lab
	etcd   *clientv3.Client
	random *rand.Rand
	added  int
}

// keys are all of Berth's, by kind.
func (w *wrecker) keys() map[string]map[string]string {
	w.Helper()
	got, err := w.etcd.Get(w.Context(), berthKeys, clientv3.WithPrefix())
	if err != nil {
		w.Fatal(err)
	}
	all := map[string]map[string]string{}
	for _, kv := range got.Kvs {
		kind := kindOf(string(kv.Key))
		if all[kind] == nil {
			all[kind] = map[string]string{}
		}
		all[kind][string(kv.Key)] = string(kv.Value)
	}
	return all
}

func kindOf(key string) string {
	parts := strings.Split(strings.TrimPrefix(key, berthKeys), "/")
	if parts[0] == "config" && len(parts) > 1 {
		return "config/" + parts[1]
	}
	return parts[0]
}

var digits = regexp.MustCompile(`:-?[0-9]+`)

// ways are what somebody makes of a value. A lie, which is as a record of its kind is and says something else, is not among
// them: nothing tells it from the truth.
var ways = map[string]func(w *wrecker, value string) string{
	"cut":             func(w *wrecker, v string) string { return v[:w.random.IntN(max(len(v), 1))] },
	"empty":           func(*wrecker, string) string { return " " },
	"null":            func(*wrecker, string) string { return "null" },
	"list":            func(*wrecker, string) string { return "[1,2,3]" },
	"empty object":    func(*wrecker, string) string { return "{}" },
	"noise":           func(w *wrecker, _ string) string { return string([]byte{0xff, 0, byte(w.random.IntN(256)), '{'}) },
	"huge":            func(*wrecker, string) string { return `{"x":"` + strings.Repeat("y", 1<<20) + `"}` },
	"numbers as text": func(_ *wrecker, v string) string { return digits.ReplaceAllString(v, `:"many"`) },
	"numbers below":   func(_ *wrecker, v string) string { return digits.ReplaceAllString(v, `:-7`) },
	"numbers above":   func(_ *wrecker, v string) string { return digits.ReplaceAllString(v, `:9223372036854775807`) },
	"block size":      func(_ *wrecker, v string) string { return strings.Replace(v, `"v4":26`, `"v4":33`, 1) },
	"prefixes":        func(_ *wrecker, v string) string { return strings.ReplaceAll(v, `/26"`, `/3"`) },
	"texts as number": func(_ *wrecker, v string) string { return strings.Replace(v, `:"`, `:5,"_":"`, 1) },
}

// hit damages one key that is none of those which are damaged already; nil: it found nothing to do.
func (w *wrecker) hit(standing []hit) *hit {
	w.Helper()
	if w.random.IntN(6) == 0 {
		return w.add()
	}
	all := w.keys()
	kinds := slices.Sorted(maps.Keys(all))
	kind := kinds[w.random.IntN(len(kinds))]
	keys := slices.Sorted(maps.Keys(all[kind]))
	key := keys[w.random.IntN(len(keys))]
	if kind == "questions" || slices.ContainsFunc(standing, func(h hit) bool { return h.key == key }) {
		return nil
	}
	h := &hit{key: key, kind: kind, before: all[kind][key]}
	if w.random.IntN(5) == 0 {
		h.how = "deletion"
		_, err := w.etcd.Delete(w.Context(), key)
		w.check(err)
		return h
	}
	names := slices.Sorted(maps.Keys(ways))
	h.how = names[w.random.IntN(len(names))]
	if h.after = ways[h.how](w, h.before); h.after == h.before {
		return nil
	}
	if h.after == "" {
		h.after = " "
	}
	_, err := w.etcd.Put(w.Context(), key, h.after)
	w.check(err)
	return h
}

// add makes a key that was not there.
func (w *wrecker) add() *hit {
	w.Helper()
	w.added++
	n := w.added
	keys := []string{
		"nonsense/%d", "config/strange%d", "config/pools/stray%d/x", "config/pools/stray%d", "config/history/9%03d", "nodes/ghost%d",
		"sessions/ghost%d",
		"status/ghost%d", "blocks/default/10.42.200.%d", "blocks/nowhere/10.42.0.%d", "assignments/default/10.42.201.%d",
		"reservations/default/10.42.3.%d",
		"identities/berth/shop/db/ghost%d/eth0", "demands/default/ghost%d", "reservations/default/not-an-address%d", "nodes/a b%d",
	}
	values := []string{"{", "null", "{}", `{"name":"zz"}`,
		`{"cidrs":["10.42.0.0/17"],"name":"stray%d","blockSize":{"v4":26,"v6":122},"reuse":"1m","cooldown":"1s"}`}
	h := &hit{how: "addition"}
	h.key = berthKeys + fmt.Sprintf(keys[w.random.IntN(len(keys))], n%250)
	h.kind = kindOf(h.key)
	h.after = strings.ReplaceAll(values[w.random.IntN(len(values))], "%d", strconv.Itoa(n%250))
	if got, err := w.etcd.Get(w.Context(), h.key); err != nil || len(got.Kvs) > 0 {
		return nil
	}
	_, err := w.etcd.Put(w.Context(), h.key, h.after)
	w.check(err)
	return h
}

func (w *wrecker) check(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}
